//! Where sentences end, in languages that write `.`, `!` or `?`, or `。`.

/// Abbreviations after which a sentence goes on although a capital may follow, in English, German and French, without
/// their last full stop. A single letter (an initial, or the parts of "z. B." and "e. g.") always counts as one.
const ABBREVIATIONS: [&str; 62] = [
    "abb", "abs", "al", "approx", "art", "bd", "bsp", "bspw", "bzgl", "bzw", "ca", "cf", "co", "corp", "d.h", "dept",
    "dipl", "dr", "e.g", "ed", "eds", "etc", "evtl", "ff", "fig", "frl", "geb", "gen", "ggf", "gov", "hr", "hrsg",
    "i.e", "inc", "ing", "inkl", "jr", "kap", "ltd", "m.e", "mio", "mme", "mr", "mrd", "mrs", "ms", "mt", "no", "nr",
    "p.m", "pp", "prof", "rev", "sen", "sr", "st", "str", "u.a", "usw", "vgl", "vs", "z.b",
];

/// The sentences of a text, trimmed, none of them empty. An empty line ends a sentence, too.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let mut end = at + character.len_utf8();
        let ends = match character {
            '。' | '！' | '？' => true,
            '.' | '!' | '?' | '…' => {
                // More marks, and the quotes and brackets that close with the sentence, belong to it.
                while let Some((at, closing)) = characters.next_if(|(_, next)| closes(*next)) {
                    end = at + closing.len_utf8();
                }
                let before = text.get(start..at).unwrap_or_default();
                let after = text.get(end..).unwrap_or_default();
                after.starts_with(char::is_whitespace) && goes_on_anew(character, before, after)
            }
            '\n' => text.get(end..).is_some_and(|after| {
                let blank = after.split('\n').next().unwrap_or_default();
                blank.trim().is_empty()
            }),
            _ => false,
        };
        if ends {
            sentences.push(text.get(start..end).unwrap_or_default());
            start = end;
        }
    }
    sentences.push(text.get(start..).unwrap_or_default());
    let trimmed = sentences.into_iter().map(str::trim);
    trimmed
        .filter(|sentence| sentence.contains(char::is_alphanumeric))
        .collect()
}

fn closes(character: char) -> bool {
    matches!(
        character,
        '.' | '!' | '?' | '…' | '"' | '\'' | ')' | ']' | '»' | '«' | '“' | '”' | '’'
    )
}

/// Whether what follows a mark is a new sentence, rather than the rest of one with an abbreviation or an ordinal in it.
fn goes_on_anew(mark: char, before: &str, after: &str) -> bool {
    let next = after.chars().find(|character| character.is_alphanumeric());
    if mark != '.' {
        return !next.is_some_and(char::is_lowercase);
    }
    let word = before
        .rsplit(|character: char| character.is_whitespace() || matches!(character, '(' | '"' | '„'))
        .next();
    let word = word.unwrap_or_default().to_lowercase();
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    // "am 3. Mai", "the 2. floor": one or two digits; a year at the end of a sentence has four.
    let is_ordinal = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_abbreviation = ABBREVIATIONS.binary_search(&word.as_str()).is_ok();
    !(next.is_some_and(char::is_lowercase) || is_initial || is_ordinal || is_abbreviation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(split(text), expected);
    }

    #[test]
    fn the_abbreviations_are_sorted() {
        assert!(ABBREVIATIONS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn sentences_end() {
        check("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]);
        check(
            "He said: \"Stop!\" Then he left... Really?! Yes.",
            &["He said: \"Stop!\"", "Then he left...", "Really?!", "Yes."],
        );
        check(
            "A title\n\nA text that\ngoes on.",
            &["A title", "A text that\ngoes on."],
        );
        check("今日は。元気？", &["今日は。", "元気？"]);
        check("Привет, мир. Как дела?", &["Привет, мир.", "Как дела?"]);
        check(" \n\n .  ! ", &[]);
    }

    #[test]
    fn sentences_go_on() {
        for text in [
            "Dr. Smith met Mr. J. R. Jones at 3.30 p.m. today.",
            "Das gilt z. B. am 3. Mai, d.h. bald, für ca. 5 Mio. Euro.",
            "See example.org for v1.2 (cf. Fig. 3).",
            "\"Really?\" she asked.",
        ] {
            check(text, &[text]);
        }
    }

    proptest! {
        #[test]
        fn sentences_are_the_text(text in "([a-z ]{0,4}[.!?\\n\"] ?|\\PC){0,40}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(split(&text).into_iter().map(letters).collect::<String>(), letters(&text));
        }
    }
}
