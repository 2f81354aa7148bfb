//! Numbers that look random and are the same in every run.

/// SplitMix64. No crate is needed for it, and none can change what a seed stands for.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn word(&mut self, from: &[&str]) -> String {
        self.pick(from).to_owned()
    }

    /// From `low` to `high` different words, in no order.
    pub fn words(&mut self, from: &[&str], low: usize, high: usize) -> Vec<String> {
        let wanted = low + self.below(high - low + 1);
        let mut words: Vec<String> = Vec::new();
        for _ in 0..wanted {
            let word = self.word(from);
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }
}
