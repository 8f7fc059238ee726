//! Words that say nothing about what a text is about, in English, German, French and Spanish, folded as `text::words` does.
//!
//! A text in another language keeps all of its words: its most frequent ones weigh more than they should, and the summary
//! is a little worse.

/// Sorted.
#[rustfmt::skip]
const STOP_WORDS: [&str; 410] = [
    "a", "aber", "about", "above", "after", "again", "against", "al", "all", "alle", "allem", "allen", "aller",
    "alles", "als", "also", "am", "an", "and", "ander", "andere", "anderen", "ante", "any", "are", "aren't", "as",
    "at", "au", "auch", "auf", "aus", "aux", "avec", "bajo", "be", "because", "been", "before", "bei", "beim",
    "being", "below", "between", "bin", "bis", "bist", "both", "but", "by", "c'est", "can", "can't", "cannot", "ce",
    "ces", "cette", "como", "con", "contra", "could", "cual", "cuando", "d'un", "d'une", "da", "damit", "dann",
    "dans", "das", "dass", "de", "dein", "deine", "del", "dem", "den", "denn", "der", "des", "desde", "dich", "did",
    "didn't", "die", "dies", "diese", "diesem", "diesen", "dieser", "dieses", "dir", "do", "doch", "does", "doesn't",
    "doing", "don't", "donde", "dort", "down", "du", "durch", "during", "each", "ein", "eine", "einem", "einen",
    "einer", "eines", "el", "ella", "ellas", "elle", "elles", "ellos", "en", "entre", "er", "era", "es", "esa", "ese",
    "eso", "est", "esta", "este", "esto", "et", "etwas", "euch", "euer", "eux", "few", "for", "from", "fue", "fur",
    "further", "gegen", "gewesen", "ha", "hab", "habe", "haben", "had", "han", "has", "hasta", "hat", "hatte",
    "hatten", "have", "having", "hay", "he", "her", "here", "hers", "hier", "him", "hin", "hinter", "his", "how", "i",
    "i'm", "ich", "if", "ihm", "ihn", "ihnen", "ihr", "ihre", "ihrem", "ihren", "ihrer", "il", "ils", "im", "in",
    "into", "is", "isn't", "ist", "it", "it's", "its", "itself", "ja", "je", "jede", "jedem", "jeden", "jeder",
    "jedes", "jetzt", "just", "kann", "kein", "keine", "konnen", "konnte", "la", "las", "le", "les", "leur", "leurs",
    "lo", "los", "lui", "ma", "machen", "mais", "man", "mas", "me", "mehr", "mein", "meine", "meme", "mes", "mi",
    "mich", "mir", "mit", "moi", "mon", "more", "most", "muss", "muy", "my", "n'est", "nach", "nada", "ne", "ni",
    "nicht", "nichts", "no", "noch", "nor", "nos", "not", "notre", "nous", "now", "nun", "nur", "o", "ob", "oder",
    "of", "off", "ohne", "on", "once", "only", "ont", "or", "other", "ou", "our", "ours", "out", "over", "own", "par",
    "para", "pas", "pero", "plus", "por", "porque", "pour", "qu", "qu'il", "que", "qui", "quien", "sa", "same", "se",
    "sehr", "sein", "seine", "seinem", "seinen", "seiner", "seit", "ser", "ses", "she", "should", "si", "sich", "sie",
    "sin", "sind", "so", "sobre", "soll", "sollte", "some", "son", "sondern", "sonst", "sont", "su", "such", "sur",
    "sus", "ta", "tambien", "te", "tes", "than", "that", "that's", "the", "their", "theirs", "them", "then", "there",
    "these", "they", "they're", "this", "those", "through", "tiene", "to", "todo", "todos", "toi", "ton", "too", "tu",
    "uber", "um", "un", "una", "und", "under", "une", "unos", "uns", "unser", "unter", "until", "up", "very", "vom",
    "von", "vor", "vos", "votre", "vous", "war", "waren", "warum", "was", "wasn't", "we", "we're", "weil", "weiter",
    "welche", "welcher", "wenn", "wer", "werde", "werden", "were", "weren't", "what", "when", "where", "which",
    "while", "who", "whom", "why", "wie", "wieder", "will", "wir", "wird", "with", "wo", "won't", "would", "wurde",
    "wurden", "y", "ya", "yo", "you", "you're", "your", "yours", "zu", "zum", "zur", "zwar", "zwischen",
];

/// Whether the folded word is a stop word.
pub(super) fn contains(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words;

    #[test]
    fn the_words_are_sorted_and_folded() {
        assert!(STOP_WORDS.is_sorted_by(|a, b| a < b));
        for word in STOP_WORDS {
            let folded: Vec<_> = words(word).into_iter().map(|word| word.folded).collect();
            assert_eq!(folded, [word]);
        }
    }
}
