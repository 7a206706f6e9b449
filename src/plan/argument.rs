//! Why a plan is exact, for people: what each step rests on, and which arms were judged before.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

/// Why a plan is exact.
#[derive(Debug, Clone, Default)]
pub(crate) struct Argument {
    /// Of each step, in their order, what it rests on.
    pub(super) premises: Vec<Vec<String>>,
    /// The arms of each block, in the order in which they were judged.
    pub(super) judged: Vec<Judgement>,
}

/// What was found of one arm for one block of the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    /// How the block's text begins.
    pub(super) block: String,
    /// As [`Arm`](super::Arm) calls it in JSON, or `rows`.
    pub(super) arm: &'static str,
    /// Why it was not taken; `None`: it was.
    pub(super) obstacle: Option<String>,
}

impl Argument {
    /// What a step rests on.
    pub(super) fn premises(&self, step: usize) -> &[String] {
        self.premises.get(step).map_or(&[], Vec::as_slice)
    }

    /// The judgements, by block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[Judgement]> {
        self.judged.chunk_by(|one, next| one.block == next.block)
    }
}

/// What the judging of one step has found to hold, while it judges.
#[derive(Debug, Default)]
pub(super) struct Premises(RefCell<Vec<String>>);

impl Premises {
    /// Enters a sentence, once.
    pub(super) fn hold(&self, premise: impl Into<String>) {
        add(&mut self.0.borrow_mut(), premise.into());
    }

    pub(super) fn into_sentences(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// Enters a sentence that is not there.
pub(super) fn add(sentences: &mut Vec<String>, sentence: String) {
    if !sentences.contains(&sentence) {
        sentences.push(sentence);
    }
}

/// How the text of a tree begins. No more of it is printed than that.
pub(super) fn beginning(tree: &impl fmt::Display) -> String {
    let mut text = Beginning(String::new());
    match write!(text, "{tree}") {
        Ok(()) => text.0,
        Err(_) => text.0 + " ..",
    }
}

/// Takes no more than [`MOST_CHARACTERS`].
struct Beginning(String);

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MOST_CHARACTERS - self.0.chars().count();
        let taken = text.char_indices().nth(room).map(|(at, _)| at);
        self.0.push_str(&text[..taken.unwrap_or(text.len())]);
        match taken {
            Some(_) => Err(fmt::Error),
            None => Ok(()),
        }
    }
}

/// The most characters of a block by which it is known.
const MOST_CHARACTERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_text_is_kept() {
        assert_eq!(beginning(&"short"), "short");
        let exact = "ä".repeat(MOST_CHARACTERS);
        assert_eq!(beginning(&exact), exact);
        assert_eq!(beginning(&format!("{exact}b")), format!("{exact} .."));
        let parts = format_args!("{exact}{}", "more").to_string();
        assert_eq!(beginning(&parts), format!("{exact} .."));
    }

    #[test]
    fn a_premise_is_said_once() {
        let premises = Premises::default();
        premises.hold("one");
        premises.hold("two");
        premises.hold("one");
        assert_eq!(premises.into_sentences(), ["one", "two"]);
    }
}
