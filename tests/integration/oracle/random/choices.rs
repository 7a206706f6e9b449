//! Choices of a generator, which can be recorded, repeated, and made simpler.
//!
//! What a generator makes is a function of its choices. 0 is always the simplest, so a shorter
//! sequence with smaller numbers makes a simpler statement, and no statement needs to be taken apart
//! for that.

use std::ops::Range;
use std::time::Instant;

/// Where the choices of one statement come from.
#[derive(Debug)]
pub(super) struct Choices {
    made: Vec<usize>,
    /// The choices of each part of the grammar, inner ones first.
    parts: Vec<Range<usize>>,
    given: Vec<usize>,
    /// `None`: what is not given is 0.
    random: Option<u64>,
}

impl Choices {
    pub(super) fn of_seed(seed: u64) -> Self {
        // Neighbouring seeds shall not have neighbouring states.
        let random = Some(mix(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        Self {
            made: Vec::new(),
            parts: Vec::new(),
            given: Vec::new(),
            random,
        }
    }

    pub(super) fn given(given: Vec<usize>) -> Self {
        Self {
            made: Vec::new(),
            parts: Vec::new(),
            given,
            random: None,
        }
    }

    /// What was chosen, without what 0 stands for anyway, and where the parts are.
    pub(super) fn into_parts(mut self) -> (Vec<usize>, Vec<Range<usize>>) {
        while self.made.last() == Some(&0) {
            self.made.pop();
        }
        (self.made, self.parts)
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let weights = vec![1; n];
        self.weighted(&weights)
    }

    /// True in this many of 100 cases.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.weighted(&[100 - percent.min(100), percent]) == 1
    }

    /// An index, as often as its weight says.
    pub(super) fn weighted(&mut self, weights: &[u32]) -> usize {
        let choice = match (self.given.get(self.made.len()), self.random.as_mut()) {
            (Some(&given), _) if weights.get(given).is_some_and(|&weight| weight > 0) => given,
            (None, Some(state)) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let total: u32 = weights.iter().sum();
                let mut rest = (mix(*state) % u64::from(total.max(1))) as u32;
                let at = weights.iter().position(|&weight| match rest < weight {
                    true => true,
                    false => {
                        rest -= weight;
                        false
                    }
                });
                at.unwrap_or(0)
            }
            _ => weights.iter().position(|&weight| weight > 0).unwrap_or(0),
        };
        self.made.push(choice);
        choice
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Where a part begins, for [`Self::end`].
    pub(super) fn begin(&self) -> usize {
        self.made.len()
    }

    pub(super) fn end(&mut self, begin: usize) {
        if self.made.len() > begin {
            self.parts.push(begin..self.made.len());
        }
    }
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The simplest choices found, before the deadline, for which `fails` still holds.
pub(super) async fn shrink<F>(
    mut choices: Vec<usize>,
    parts_of: impl Fn(&[usize]) -> (Vec<usize>, Vec<Range<usize>>),
    deadline: Instant,
    fails: impl Fn(Vec<usize>) -> F,
) -> Vec<usize>
where
    F: Future<Output = bool>,
{
    loop {
        let mut found = None;
        for step in steps(&choices, parts_of(&choices).1) {
            if Instant::now() > deadline {
                return choices;
            }
            // Only what makes another statement, and a simpler one, is worth a try.
            let (candidate, _) = parts_of(&step.of(&choices));
            if is_simpler(&candidate, &choices) && fails(candidate.clone()).await {
                found = Some(candidate);
                break;
            }
        }
        match found {
            Some(simpler) => choices = simpler,
            None => return choices,
        }
    }
}

/// What makes a sequence simpler, perhaps.
enum Step {
    Zero(Range<usize>),
    Remove(Range<usize>),
    Lower(usize),
}

/// Large parts first.
fn steps(choices: &[usize], mut parts: Vec<Range<usize>>) -> Vec<Step> {
    let length = choices.len();
    for part in &mut parts {
        *part = part.start.min(length)..part.end.min(length);
    }
    parts.sort_by_key(|part| (std::cmp::Reverse(part.len()), part.start));
    parts.dedup();
    let parts = parts
        .into_iter()
        .flat_map(|part| [Step::Zero(part.clone()), Step::Remove(part)]);
    let single = (0..length).filter(|&at| choices[at] > 0);
    let single = single.flat_map(|at| {
        [
            Step::Zero(at..at + 1),
            Step::Lower(at),
            Step::Remove(at..at + 1),
        ]
    });
    parts.chain(single).collect()
}

impl Step {
    fn of(&self, choices: &[usize]) -> Vec<usize> {
        let mut simpler = choices.to_vec();
        match self {
            Self::Zero(part) => simpler[part.clone()].fill(0),
            Self::Remove(part) => drop(simpler.drain(part.clone())),
            Self::Lower(at) => simpler[*at] -= 1,
        }
        simpler
    }
}

fn is_simpler(one: &[usize], other: &[usize]) -> bool {
    (one.len(), one.iter().sum::<usize>(), one) < (other.len(), other.iter().sum(), other)
}

#[test]
fn a_seed_always_makes_the_same_choices_and_given_ones_are_repeated() {
    let some = |choices: &mut Choices| -> Vec<_> {
        (0..50).map(|_| choices.weighted(&[3, 0, 1, 6])).collect()
    };
    let mut first = Choices::of_seed(7);
    let made = some(&mut first);
    assert_eq!(made, some(&mut Choices::of_seed(7)));
    assert_ne!(made, some(&mut Choices::of_seed(8)));
    assert!(!made.contains(&1) && made.contains(&2));
    assert_eq!(made, some(&mut Choices::given(made.clone())));
    assert_eq!(some(&mut Choices::given(Vec::new())), vec![0; 50]);
}
