//! Waiting for the end of a step that somebody else executes.

use super::caller::Caller;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::status::{Cursor, Watch};
use crate::run::{RunName, StoredAnswer};

/// Waits for a step's end for at most `wait_ms`, and answers it if it comes in time. Reads the attempt of this key; the
/// step's latest one where none is named, or none has it.
///
/// # Errors
/// When there is no such step, or the run's object does not answer.
pub async fn ended<P: Platform>(
    caller: &Caller<'_, P>,
    run: &RunName,
    step: &str,
    idempotency_key: Option<&str>,
    wait_ms: u64,
) -> Result<Option<StoredAnswer>, Problem> {
    let ends_at_ms = caller.platform.now_ms() + wait_ms;
    let mut watch = Watch {
        step: step.to_owned(),
        idempotency_key: idempotency_key.map(str::to_owned),
        cursor: Cursor::default(),
        follows: false,
    };
    loop {
        let left_ms = ends_at_ms.saturating_sub(caller.platform.now_ms());
        if left_ms == 0 {
            return Ok(None);
        }
        let Some(watched) = caller.platform.watch(run, &watch, left_ms).await? else {
            return Err(Problem::StepUnknown);
        };
        if watched.answer.is_some() {
            return Ok(watched.answer);
        }
        // Events end a watch, too: past them.
        watch.cursor = Cursor {
            ordinal: watched.ordinal,
            seq: watched.events.last().map_or(watch.cursor.seq, |event| event.seq),
        };
    }
}
