//! Reading a body of unknown length within a bound.

use futures_util::StreamExt as _;
use worker::ByteStream;

/// Reads the whole stream; nothing where it has more than `max_bytes`. What comes after that is not kept, and read on for
/// at most `drain_max_bytes`: a sender that is not read to its end may lose the answer.
pub async fn read_capped(
    mut chunks: ByteStream,
    max_bytes: usize,
    drain_max_bytes: usize,
) -> worker::Result<Option<Vec<u8>>> {
    let (mut body, mut received) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        received += chunk.len();
        if received <= max_bytes {
            body.extend_from_slice(&chunk);
        } else if received > max_bytes.saturating_add(drain_max_bytes) {
            break;
        }
    }
    Ok((received <= max_bytes).then_some(body))
}
