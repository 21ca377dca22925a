//! Terminal output as text: escape sequences and control characters left out.

/// Where in a sequence the filter is; sequences may be cut anywhere between two reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and a character that takes one more: `ESC ( B`.
    Charset,
    /// In a control sequence: `ESC [ … letter`.
    Control,
    /// In an operating system command or another string: ended by BEL or `ESC \`.
    String,
}

/// Takes escape sequences (ECMA-48) out of a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Filter {
    state: State,
}

impl Filter {
    /// The text in the next `bytes` of the stream.
    pub(super) fn text(&mut self, bytes: &[u8]) -> String {
        let kept: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(|byte| self.keeps(*byte))
            .collect();
        String::from_utf8_lossy(&kept).into_owned()
    }

    fn keeps(&mut self, byte: u8) -> bool {
        let (state, keeps) = match (self.state, byte) {
            (State::Text | State::String, 0x1b) => (State::Escape, false),
            (State::Text, _) => (
                State::Text,
                matches!(byte, b'\n' | b'\t' | 0x20..) && byte != 0x7f,
            ),
            (State::Escape, b'[') | (State::Control, 0x20..=0x3f) => (State::Control, false),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (State::String, false),
            (State::Escape, 0x20..=0x2f) => (State::Charset, false),
            (State::String, byte) if byte != 0x07 => (State::String, false),
            _ => (State::Text, false),
        };
        self.state = state;
        keeps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        let mut filter = Filter::default();
        let said = b"\x1b[0;32m  OK  \x1b[0m] Started\r\n\x1b(B\x1b]0;title\x07\x1b]3008;x\x1b\\done\x1b[?2004h\x7f\n";
        assert_eq!(filter.text(said), "  OK  ] Started\ndone\n");
    }

    #[test]
    fn a_sequence_cut_between_reads_is_still_one() {
        let said = b"a\x1b[1;3Hb\x1b]8;;\x1b\\c";
        for cut in 0..said.len() {
            let mut filter = Filter::default();
            let text = filter.text(&said[..cut]) + &filter.text(&said[cut..]);
            assert_eq!(text, "abc", "cut at {cut}");
        }
    }
}
