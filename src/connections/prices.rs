//! What models cost: the operator's prices, in whole numbers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ConnectionError;

/// A provider has prices of at most this many models.
pub const PRICES_MAX: usize = 64;
/// A price is at most this much, in units of the operator's currency per million tokens.
pub const PRICE_MAX: u32 = 10_000_000;
/// A cost that is told is at most this much, in millionths of the unit: the largest whole number that all readers of JSON
/// agree on.
pub const COST_MAX_MICROS: u64 = (1 << 53) - 1;

/// So many millionths a unit has; and so many tokens a price is for.
const MILLION: u32 = 1_000_000;

/// What a price must be, in an error's words.
pub(super) const EXPECTED: &str = "a number from 0 to 10000000 with at most six decimals";

/// What a million tokens of a model cost, in millionths of the operator's unit of currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of those that it reads.
    pub input_micros: u64,
    /// Of those that it writes.
    pub output_micros: u64,
}

impl Price {
    /// What so many tokens cost together, in millionths of the unit: rounded up once, so that nothing that has a price is
    /// told as free.
    #[must_use]
    pub fn cost_micros(&self, input_tokens: u64, output_tokens: u64) -> u64 {
        let part = |tokens: u64, micros: u64| u128::from(tokens) * u128::from(micros);
        let sum = part(input_tokens, self.input_micros).saturating_add(part(output_tokens, self.output_micros));
        let micros = sum.div_ceil(u128::from(MILLION));
        u64::try_from(micros).unwrap_or(u64::MAX).min(COST_MAX_MICROS)
    }
}

/// A price as it is written: units of the operator's currency per million tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceEntry {
    input: f64,
    output: f64,
}

/// The prices of a provider.
pub(super) fn check(
    provider: &str,
    entries: BTreeMap<String, PriceEntry>,
) -> Result<BTreeMap<String, Price>, ConnectionError> {
    if entries.len() > PRICES_MAX {
        let (provider, count) = (provider.to_owned(), entries.len());
        return Err(ConnectionError::TooManyPrices { provider, count });
    }
    let price = |(model, entry): (String, PriceEntry)| {
        let micros = |member, units| {
            micros(units).ok_or_else(|| ConnectionError::Price {
                provider: provider.to_owned(),
                model: model.clone(),
                member,
            })
        };
        let price = Price {
            input_micros: micros("input", entry.input)?,
            output_micros: micros("output", entry.output)?,
        };
        Ok((model, price))
    };
    entries.into_iter().map(price).collect()
}

/// The millionths of a number of units, where they are whole.
fn micros(units: f64) -> Option<u64> {
    if !(0.0..=f64::from(PRICE_MAX)).contains(&units) {
        return None;
    }
    let million = f64::from(MILLION);
    let micros = (units * million).round();
    // Division rounds to the nearest float, as reading a decimal does: both are the same where there are no more decimals.
    #[expect(clippy::float_cmp, reason = "the same float is what is asked for")]
    let is_whole = micros / million == units;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative, and below 2^53"
    )]
    is_whole.then_some(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_whole_millionths() {
        let check = |units: f64, expected: Option<u64>| assert_eq!(micros(units), expected, "{units}");
        check(0.0, Some(0));
        check(0.25, Some(250_000));
        check(0.1, Some(100_000));
        check(1.005, Some(1_005_000));
        check(0.000_001, Some(1));
        check(0.000_000_1, None);
        check(0.000_001_5, None);
        check(9_999_999.999_999, Some(9_999_999_999_999));
        check(f64::from(PRICE_MAX), Some(10_000_000_000_000));
        check(f64::from(PRICE_MAX) + 0.000_001, None);
        check(-0.25, None);
        check(f64::NAN, None);
        assert!(EXPECTED.contains(&format!(" {PRICE_MAX} ")));
    }

    #[test]
    fn costs_are_rounded_up_once() {
        let check = |(input_micros, output_micros), (read, written), expected: u64| {
            let price = Price {
                input_micros,
                output_micros,
            };
            assert_eq!(price.cost_micros(read, written), expected);
        };
        check((250_000, 2_000_000), (0, 0), 0);
        check((250_000, 2_000_000), (4, 1), 3);
        check((250_000, 2_000_000), (5, 0), 2);
        // Half a millionth and half a millionth are one, not two.
        check((500_000, 500_000), (1, 1), 1);
        check((1, 0), (1, 0), 1);
        check((0, 0), (u64::MAX, u64::MAX), 0);
        check(
            (10_000_000_000_000, 10_000_000_000_000),
            (u64::MAX, u64::MAX),
            COST_MAX_MICROS,
        );
    }
}
