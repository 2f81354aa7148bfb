use super::*;

/// The same by hand: every occurrence of every value, with those that touch taken together.
fn naive(values: &[&[u8]], stream: &[u8]) -> Vec<u8> {
    let mut hidden = vec![false; stream.len()];
    for value in values.iter().filter(|value| !value.is_empty()) {
        for start in 0..stream.len() {
            if stream[start..].starts_with(value) {
                hidden[start..start + value.len()].fill(true);
            }
        }
    }
    let mut shown = Vec::new();
    for (at, byte) in stream.iter().enumerate() {
        if !hidden[at] {
            shown.push(*byte);
        } else if at == 0 || !hidden[at - 1] {
            shown.extend_from_slice(MASKED);
        }
    }
    shown
}

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn bytes(&mut self, length: usize, letters: &[u8]) -> Vec<u8> {
        (0..length)
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }
}

fn fed(mask: &Mask, pieces: &[&[u8]]) -> Vec<u8> {
    let mut mask = mask.clone();
    let mut shown: Vec<u8> = pieces.iter().flat_map(|piece| mask.feed(piece)).collect();
    shown.extend(mask.finish());
    shown
}

#[test]
fn any_stream_in_any_pieces_is_masked_as_by_hand() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut hidden = 0;
    for round in 0..40_000 {
        // Few letters, so that values overlap each other and themselves.
        let letters = &b"abcx"[..2 + dice.below(3)];
        let values: Vec<Vec<u8>> = (0..1 + dice.below(4))
            .map(|_| {
                let length = dice.below(7);
                dice.bytes(length, letters)
            })
            .collect();
        let length = dice.below(40);
        let stream = dice.bytes(length, letters);
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(1 + dice.below(rest.len()));
            pieces.push(piece);
            rest = later;
        }
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let mask = Mask::new(&values);
        let expected = naive(&values, &stream);
        let told = || format!("round {round}: {values:?} in {pieces:?}");
        assert_eq!(fed(&mask, &pieces), expected, "{}", told());
        assert_eq!(mask.whole(&stream), expected, "{}", told());
        hidden += usize::from(expected != stream);
        // Wherever the stream is cut, nothing of it is shown that a value could begin with.
        let mut cut = mask.clone();
        let mut shown: Vec<u8> = pieces.iter().flat_map(|piece| cut.feed(piece)).collect();
        shown.extend(cut.cut());
        for value in values.iter().filter(|value| !value.is_empty()) {
            for length in 1..value.len() {
                assert!(!shown.ends_with(&value[..length]), "{}", told());
            }
        }
    }
    assert!(hidden > 10_000, "only {hidden} streams held a value");
}

#[test]
fn a_value_in_two_writes_is_hidden_and_the_rest_comes_at_once() {
    let mut mask = Mask::new(["hunter22"]);
    assert_eq!(mask.feed(b"password: hun"), b"password: ");
    assert_eq!(mask.feed(b"ter2"), b"");
    assert_eq!(mask.feed(b"2!"), b"[masked]!");
    assert_eq!(mask.feed(b"no hunter21"), b"no hunter21");
    assert_eq!(mask.feed(b"hunter"), b"");
    assert_eq!(mask.finish(), b"hunter");
    // After its end it is as new.
    assert_eq!(mask.feed(b"22 hunter2"), b"22 ");
    assert_eq!(mask.cut(), b"[masked]");
    assert_eq!(mask.feed(b"2 "), b"2 ");
}

#[test]
fn values_are_hidden_without_the_space_around_them_and_line_by_line() {
    let key = "-----BEGIN KEY-----\r\nMIIEvQIBADANBgkqhkiG9w0BAQ\nshort\n-----END KEY-----\n";
    let mask = Mask::new([key, "tok\n", "", " \n"]);
    assert_eq!(mask.text(key), "[masked]");
    assert_eq!(mask.text("KeyError: 'tok'"), "KeyError: '[masked]'");
    assert_eq!(mask.text("> MIIEvQIBADANBgkqhkiG9w0BAQ <"), "> [masked] <");
    assert_eq!(mask.text("short and \n \n"), "short and[masked]");
    assert_eq!(Mask::new([""; 0]).text("as it was"), "as it was");
    let umlaut = Mask::new(["größe"]);
    assert_eq!(umlaut.text("die größe, die groß"), "die [masked], die groß");
}

#[test]
fn a_mask_does_not_show_what_it_hides() {
    let mask = Mask::new(["hidden-value"]);
    assert_eq!(format!("{mask:?}"), "Mask(of 1 values)");
}

/// Ten megabytes of the worst that can be printed: a value of one letter over and over, which matches itself at every byte.
#[test]
fn time_and_memory_do_not_grow_with_what_is_printed() {
    let value = vec![b'a'; 65_536];
    let mask = Mask::new([value.as_slice()]);
    let mut mask = mask.clone();
    let mut shown = Vec::new();
    for _ in 0..160 {
        shown.extend(mask.feed(&value));
        assert!(mask.held.capacity() <= 1 << 20, "{}", mask.held.capacity());
        assert!(mask.found.len() <= 1);
    }
    shown.extend(mask.feed(b"b"));
    shown.extend(mask.finish());
    assert_eq!(shown, b"[masked]b");
}
