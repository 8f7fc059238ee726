//! The signature profile under attack, over the wire: what is refused, how, and that nothing came of it.

mod answers;
mod changes;
mod keys;
mod limits;
mod parameters;
pub mod replays;
mod webhooks;

use contract_tests::message::Message;

use crate::support::assert_no_effect;

/// One attack per line, each as a test of its own: `name: message => status "code";`. It must be refused so, and have no effect.
macro_rules! attacks {
    ($($name:ident: $message:expr => $status:literal $code:literal;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::signatures::check_refused(&$message, $status, $code);
            }
        )*
    };
}
use attacks;

/// Sends what must be refused before its sender is known: so the answer is not signed, and a 401 says how to sign.
#[track_caller]
fn check_refused(message: &Message, status: u16, code: &str) {
    let answer = message.send();
    answer.problem(status, code);
    assert!(!answer.is_signed(), "signed for nobody known: {answer:#?}");
    let challenge = (status == 401).then_some("Signature realm=\"baton\"");
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(answer.header("accept-signature").is_some(), status == 401);
    assert_no_effect(&message.body);
}

/// Sends what must be accepted.
#[track_caller]
fn check_accepted(message: &Message) {
    let _ = message.send().completed();
}
