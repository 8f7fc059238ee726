//! Nonces: each is good for one request, until the signature that carried it has expired by itself.

use rusqlite::params;

use super::{Store, StoreError};

impl Store {
    /// Takes note of a nonce, and says whether it is new. Expired ones are forgotten on the way.
    ///
    /// # Errors
    /// When the database fails: the request must then be refused, since nobody knows.
    pub fn use_nonce(&self, key_id: &str, nonce: &str, expires_at_s: u64, now_s: u64) -> Result<bool, StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM nonces WHERE expires_at_s < ?1", [now_s])?;
            let inserted = transaction.execute(
                "INSERT INTO nonces (key_id, nonce, expires_at_s) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![key_id, nonce, expires_at_s],
            )?;
            Ok(inserted == 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_new_once_per_key_until_it_expires() {
        let store = Store::in_memory().expect("a store");
        let check = |key: &str, nonce: &str, now_s: u64, new: bool| {
            assert_eq!(
                store.use_nonce(key, nonce, 100, now_s).expect("an answer"),
                new,
                "{key} {nonce} at {now_s}"
            );
        };
        check("a", "n1", 10, true);
        check("a", "n1", 10, false);
        check("b", "n1", 10, true);
        check("a", "n2", 10, true);
        check("a", "n1", 100, false);
        // From here on the signature itself is refused as expired.
        check("a", "n1", 101, true);
    }
}
