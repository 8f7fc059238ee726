//! Adds up the `test result:` lines of `cargo test`.

use std::fmt;

/// How many tests did what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Marked `#[ignore]`.
    pub skipped: u64,
}

impl Summary {
    /// Takes one line of output into account.
    pub fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _ => (),
            }
        }
    }

    /// Whether no test ran.
    pub fn is_empty(&self) -> bool {
        self.passed + self.failed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: &str) {
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.add(line));
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn results_add_up() {
        check("", "0 passed, 0 failed, 0 skipped");
        check(
            "running 4 tests\n\
             test a ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.34s\n",
            "4 passed, 2 failed, 1 skipped",
        );
    }

    #[test]
    fn only_result_lines_count() {
        check(
            "9 passed; 9 failed\n  test result: ok. 1 passed;\n",
            "0 passed, 0 failed, 0 skipped",
        );
    }

    #[test]
    fn nothing_but_ignored_tests_is_empty() {
        let mut summary = Summary::default();
        summary.add("test result: ok. 0 passed; 0 failed; 5 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        assert!(summary.is_empty());
        assert_eq!(summary.skipped, 5);
    }
}
