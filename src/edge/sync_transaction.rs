//! The object's synchronous transactions, which the `worker` crate does not have yet: what is written within one is undone
//! when it fails half-way.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;

use worker::wasm_bindgen::prelude::*;
use worker::{State, js_sys};

#[wasm_bindgen]
extern "C" {
    /// The storage of a Durable Object.
    type ObjectStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(this: &ObjectStorage, work: &mut dyn FnMut() -> Result<(), JsValue>) -> Result<(), JsValue>;
}

/// Makes synchronous transactions in the object's SQLite.
pub struct SyncTransactions(ObjectStorage);

impl SyncTransactions {
    /// Takes the object's state apart, and puts it together again.
    pub fn of(state: State) -> worker::Result<(State, Self)> {
        let state = state._inner();
        let storage = js_sys::Reflect::get(state.as_ref(), &JsValue::from_str("storage"))?;
        Ok((State::from(state), Self(storage.unchecked_into())))
    }

    /// Does some writing: all of it, or nothing.
    pub fn run<T>(&self, work: impl FnOnce() -> worker::Result<T>) -> worker::Result<T> {
        // After a panic in it nothing of the two is used again.
        let work = AssertUnwindSafe(Cell::new(Some(work)));
        let result = AssertUnwindSafe(Cell::new(None));
        self.0.transaction_sync(&mut || {
            if let Some(work) = work.take() {
                result.set(Some(work()?));
            }
            Ok(())
        })?;
        result
            .take()
            .ok_or_else(|| "the platform did not make the transaction".into())
    }
}
