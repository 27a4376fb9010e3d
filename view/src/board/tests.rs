//! The page has every claim with its numbers, and nothing of others becomes code.

use super::*;
use lecture::claims::{Board, Preset, Verdict};

fn made(claims: &[Claim]) -> String {
    let record = json!({ "claims": claims }).to_string();
    let examples = [("examples/throttle.toml", "# What a second rack costs\nx = \"</pre><script>\"\n")];
    page(&Lecture { claims, record: &record, command: "railyard board --set 'a<b'", examples: &examples })
}

#[test]
fn every_claim_stands_there_with_its_numbers_and_those_that_fail_first() {
    let claims = Board::default().claims();
    let page = made(&claims);
    let begin = page.find("<main").expect("the claims");
    for claim in &claims {
        assert!(page[begin..].contains(&format!("<article id=\"{}\"", claim.id)), "{}", claim.id);
        let first = page[..begin].contains(&format!("<li><a href=\"#{}\">", claim.id));
        assert_eq!(first, claim.verdict != Verdict::Reproduces, "{}", claim.id);
        for value in &claim.values {
            assert!(page.contains(&escaped(&claim::told(value.value, value.unit))), "{}", claim.id);
        }
    }
    assert!(page.contains("as no input goes into them: B12, D9.") && page.contains("51 of 68 claims hold"));
    assert_eq!(page.matches("<input type=\"range\"").count(), page.matches("<label for=\"").count() - 1);
}

#[test]
fn a_part_of_it_with_other_inputs_is_a_page_too() {
    let board = Board::varied(Preset::Dsv3, ["throttle=9"]).expect("an input");
    let page = made(&board.select("B3").expect("a claim"));
    assert!(page.contains("of 1 claim hold") && !page.contains("id=\"B5\"") && !page.contains("chapter-A"));
}

#[test]
fn what_files_and_words_say_stays_text() {
    let page = made(&Board::default().select("B").expect("a chapter"));
    assert!(page.contains("&lt;/pre&gt;&lt;script&gt;") && page.contains("&#39;a&lt;b&#39;"), "escaped");
    assert_eq!(page.matches("<script").count(), 3);
}

#[cfg(feature = "plots")]
#[test]
fn a_picture_is_drawn_once() {
    let page = made(&Board::default().claims());
    let begin = page.find("<main").expect("the claims");
    for figure in figures::all() {
        assert_eq!(
            page[begin..].matches(&format!("<figure id=\"{}\"", figure.id)).count(),
            1,
            "{}",
            figure.id
        );
    }
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
}
