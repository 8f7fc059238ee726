//! Words of a text in any language that writes them with spaces between, and characters of those that do not.

/// One word, folded for comparison, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// In lower case, Latin and Greek letters without their marks: "Rückerstattung" and "RUCKERSTATTUNG" are the same word,
    /// also when the mark is a combining character; and so are "λόγος" and "ΛΟΓΟΣ".
    pub folded: String,
    /// Whether something that ends a clause (`.`, `,`, `!`, a line's end ...) stands between this word and the one before.
    pub begins_clause: bool,
}

/// The words of a text. An apostrophe within a word is part of it; a Chinese, Japanese or Korean character is a word.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut folded = String::new();
    let mut begins_clause = true;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next_is_letter = characters.peek().is_some_and(|next| next.is_alphanumeric());
        if is_apostrophe(character) && !folded.is_empty() && next_is_letter {
            folded.push('\'');
            continue;
        }
        if is_mark(character) {
            continue;
        }
        let ideograph = is_ideograph(character);
        if (!character.is_alphanumeric() || ideograph) && !folded.is_empty() {
            words.push(Word {
                folded: std::mem::take(&mut folded),
                begins_clause,
            });
            begins_clause = false;
        }
        if ideograph {
            words.push(Word {
                folded: character.to_string(),
                begins_clause,
            });
            begins_clause = false;
        } else if character.is_alphanumeric() {
            fold(character, &mut folded);
        } else {
            begins_clause |= ends_clause(character);
        }
    }
    if !folded.is_empty() {
        words.push(Word { folded, begins_clause });
    }
    words
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2019}')
}

/// Combining diacritical marks.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}')
}

/// Scripts that do not separate words: kana and Han.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

fn ends_clause(character: char) -> bool {
    matches!(
        character,
        '.' | ',' | ';' | ':' | '!' | '?' | '…' | '\n' | '(' | ')' | '。' | '、' | '！' | '？' | '，'
    )
}

/// Appends the character in lower case, Latin and Greek letters without their marks. It is the same for every language, since
/// nobody says which one a text is in: the Turkish İ, I and ı are all `i`, ß is `ss`, and a sigma is the same at a word's end.
/// What is folded is compared and never shown.
fn fold(character: char, folded: &mut String) {
    for lower in character.to_lowercase().filter(|lower| !is_mark(*lower)) {
        match lower {
            'à'..='å' | 'ā' | 'ă' | 'ą' => folded.push('a'),
            'æ' => folded.push_str("ae"),
            'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => folded.push('c'),
            'ď' | 'đ' => folded.push('d'),
            'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => folded.push('e'),
            'ĝ' | 'ğ' | 'ġ' | 'ģ' => folded.push('g'),
            'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => folded.push('i'),
            'ĺ' | 'ļ' | 'ľ' | 'ł' => folded.push('l'),
            'ñ' | 'ń' | 'ņ' | 'ň' => folded.push('n'),
            'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => folded.push('o'),
            'œ' => folded.push_str("oe"),
            'ŕ' | 'ŗ' | 'ř' => folded.push('r'),
            'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => folded.push('s'),
            'ß' => folded.push_str("ss"),
            'ţ' | 'ť' | 'ț' => folded.push('t'),
            'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'ź' | 'ż' | 'ž' => folded.push('z'),
            'ά' => folded.push('α'),
            'έ' => folded.push('ε'),
            'ή' => folded.push('η'),
            'ί' | 'ϊ' | 'ΐ' => folded.push('ι'),
            'ό' => folded.push('ο'),
            'ύ' | 'ϋ' | 'ΰ' => folded.push('υ'),
            'ώ' => folded.push('ω'),
            'ς' => folded.push('σ'),
            other => folded.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        let marked = words(text).into_iter().map(|word| {
            let mark = if word.begins_clause { "|" } else { "" };
            format!("{mark}{}", word.folded)
        });
        assert_eq!(marked.collect::<Vec<_>>().join(" "), expected, "{text}");
    }

    #[test]
    fn words_are_folded() {
        check("", "");
        check("Don’t PANIC, it's 5 o'clock.", "|don't panic |it's 5 o'clock");
        check(
            "Rückerstattung! Ru\u{308}ckerstattung STRASSE Straße",
            "|ruckerstattung |ruckerstattung strasse strasse",
        );
        check(
            "İstanbul ISTANBUL ıstanbul Łódź 'quoted'",
            "|istanbul istanbul istanbul lodz quoted",
        );
        check("GROẞ groß GROSS", "|gross gross gross");
        check("λόγος ΛΌΓΟΣ ΛΟΓΟΣ λο\u{301}γος", "|λογοσ λογοσ λογοσ λογοσ");
        check("Ταΐστε ΤΑΪΣΤΕ ώρα ΏΡΑ", "|ταιστε ταιστε ωρα ωρα");
        check("返金 please。はい", "|返 金 please |は い");
    }

    proptest! {
        #[test]
        fn words_are_never_empty(text in "\\PC{0,40}") {
            for word in words(&text) {
                prop_assert!(!word.folded.is_empty());
                prop_assert!(!word.folded.contains(char::is_whitespace));
            }
        }
    }
}
