//! A picture of a page with what it says and the numbers behind it, which the page has as JSON, for its buttons and for whoever checks it.

use super::{escaped, json_in_script};
use serde_json::{Value, json};

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Its name in the page, and that of its files: letters, digits and dashes.
    pub id: String,
    /// Its finding.
    pub title: String,
    /// What was measured, simulated or assumed, and in which units.
    pub caption: String,
    /// Names of the data's columns, units in them.
    pub columns: Vec<String>,
    /// The data.
    pub rows: Vec<Vec<Value>>,
    /// The picture itself.
    pub svg: String,
}

impl Picture {
    /// The figure with its buttons.
    #[must_use]
    pub fn html(&self) -> String {
        let Self { id, svg, .. } = self;
        let (title, caption) = (escaped(&self.title), escaped(&self.caption));
        format!(
            "<figure id=\"{id}\"><h3>{title}</h3><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{title}\">{svg}</div>\
             <figcaption>{caption}</figcaption><div class=\"tools\" hidden>\
             <button type=\"button\" data-csv=\"{id}\" aria-label=\"Data as CSV: {title}\">CSV</button>\
             <button type=\"button\" data-svg=\"{id}\" aria-label=\"Picture as SVG: {title}\">SVG</button>\
             <button type=\"button\" data-png=\"{id}\" aria-label=\"Picture as PNG: {title}\">PNG</button>\
             <button type=\"button\" data-large=\"{id}\" aria-pressed=\"false\" aria-label=\"Larger: {title}\">Larger</button></div></figure>\n"
        )
    }
}

/// The data of all pictures, for a page's script and for readers of the file: `{"pictures": [{"id", "title", "caption", "columns", "rows"}]}`.
#[must_use]
pub fn data(pictures: &[Picture]) -> String {
    let all: Vec<Value> = pictures
        .iter()
        .map(|picture| {
            json!({
                "id": picture.id,
                "title": picture.title,
                "caption": picture.caption,
                "columns": picture.columns,
                "rows": picture.rows,
            })
        })
        .collect();
    let json = json_in_script(&json!({ "pictures": all }).to_string());
    format!("<script type=\"application/json\" id=\"pictures\">{json}</script>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_stay_text_in_figure_and_data() {
        let evil = "</script><script>alert(1)</script>\"'&";
        let picture = Picture {
            id: "p1".to_owned(),
            title: evil.to_owned(),
            caption: evil.to_owned(),
            columns: vec![evil.to_owned()],
            rows: vec![vec![evil.into(), 1.5.into()]],
            svg: String::new(),
        };
        let html = picture.html();
        assert!(!html.contains("<script"), "{html}");
        let data = data(&[picture]);
        assert_eq!(data.matches("</script>").count(), 1, "{data}");
        let json =
            data.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</script>")).expect("an element").0;
        let read: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(read["pictures"][0]["rows"][0][0], evil);
    }
}
