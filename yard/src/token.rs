//! The word that lets a browser or a script change something: drawn at the start, or given, and compared in constant time.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Fewest and most bytes of a token that is given.
const BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// Wrong tokens that may be shown in a [`WINDOW`], by all together: guessing is hopeless, and the log stays readable.
const WRONG_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// What a request shows as `Authorization: Bearer TOKEN`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// One that nobody knows.
    #[must_use]
    pub fn draw() -> Self {
        // Its keys are the system's random bits, and SipHash doesn't show them.
        let keys = RandomState::new();
        Self(format!("{:016x}{:016x}", keys.hash_one(0_u8), keys.hash_one(1_u8)))
    }

    /// One that was chosen.
    ///
    /// # Errors
    /// One line, for what is too short to keep anybody out, or can't stand in a header.
    pub fn given(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !BYTES.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let (least, most) = (BYTES.start(), BYTES.end());
            return Err(format!(
                "a token has {least} to {most} visible characters, such as {}",
                Self::draw().0
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The word itself, to be printed once.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.0
    }

    /// Whether `shown` is this. How long it takes doesn't tell how much of it is.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(shown).fold(0, |sum, (a, b)| sum | (a ^ b));
        differing == 0 && own.len() == shown.len()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Wrong tokens so far.
#[derive(Debug)]
pub(crate) struct Wrong {
    since: Instant,
    count: u32,
}

impl Default for Wrong {
    fn default() -> Self {
        Self { since: Instant::now(), count: 0 }
    }
}

impl Wrong {
    /// One more. Whether there have been too many lately.
    pub(crate) fn add(&mut self) -> bool {
        if self.since.elapsed() > WINDOW {
            *self = Self::default();
        }
        self.count = self.count.saturating_add(1);
        self.count > WRONG_MAX
    }
}

/// Lets a browser read one page once: a link shows no token, and a token in an address would be kept in histories.
#[derive(Debug)]
pub(crate) struct Ticket {
    path: String,
    word: Token,
    since: Instant,
}

impl Ticket {
    /// How long it lasts.
    const LASTS: Duration = Duration::from_secs(60);

    /// For `path`.
    pub(crate) fn new(path: String) -> Self {
        Self { path, word: Token::draw(), since: Instant::now() }
    }

    pub(crate) fn word(&self) -> &str {
        self.word.word()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.since.elapsed() > Self::LASTS
    }

    pub(crate) fn is_for(&self, path: &str, shown: &str) -> bool {
        self.path == path && self.word.is(shown.as_bytes()) && !self.has_ended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token::draw();
        assert_eq!(token.word().len(), 32);
        assert!(token.is(token.word().as_bytes()));
        for wrong in [&token.word()[1..], "", &format!("{}0", token.word())] {
            assert!(!token.is(wrong.as_bytes()));
        }
        assert_ne!(token, Token::draw());
        assert!(Token::given("short").is_err() && Token::given("with a space in it all").is_err());
        assert_eq!(Token::given(" 0123456789abcdef\n").expect("long enough").word(), "0123456789abcdef");
        assert!(!format!("{token:?}").contains(token.word()));
    }

    #[test]
    fn a_ticket_is_for_one_path() {
        let ticket = Ticket::new("/v1/runs/1/page".to_owned());
        assert!(ticket.is_for("/v1/runs/1/page", ticket.word()));
        assert!(!ticket.is_for("/v1/runs/2/page", ticket.word()));
        assert!(!ticket.is_for("/v1/runs/1/page", ""));
    }
}
