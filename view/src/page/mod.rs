//! Pages that people open: one self-contained file of HTML each, of one design, that asks nothing of a network.

mod picture;
pub mod svg;

pub use picture::{Picture, data};

use askama::Template;

/// The design of every page, as CSS.
pub const STYLE: &str = include_str!("../../assets/page.css");

/// What a page from a file may do: run the script that is in it, and nothing else.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:";

/// A whole page.
#[derive(Template)]
#[template(path = "page.html")]
struct Document<'a> {
    title: &'a str,
    policy: Option<&'a str>,
    style: &'a str,
    body: &'a str,
    script: &'a str,
}

/// A page of one file. `title` is text; `body` is HTML and `style`, beside [`STYLE`], and `script` are code: whoever makes them has escaped
/// what others wrote ([`escaped`], [`json_in_script`]).
#[must_use]
pub fn document(title: &str, style: &str, body: &str, script: &str) -> String {
    let style = format!("{STYLE}{style}");
    let page = Document { title, policy: Some(POLICY), style: &style, body, script };
    page.render().expect("a String takes all that is written to it")
}

/// Text as HTML, between tags or in a quoted attribute.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// JSON that may stand in a `<script>`: nothing in it ends the element or begins a comment.
#[must_use]
pub fn json_in_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_text() {
        let page = document("</title><script>", "", &escaped("<b onclick='x'>&"), "");
        assert!(page.contains("<title>&#60;/title&#62;&#60;script&#62;</title>"), "{page}");
        assert!(page.contains("&lt;b onclick=&#39;x&#39;&gt;&amp;"));
        assert_eq!(json_in_script(r#"{"a":"</script><!--"}"#), r#"{"a":"\u003c/script>\u003c!--"}"#);
    }
}
