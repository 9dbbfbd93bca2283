//! {{name}}: drops debug lines, marks those of an error.

#[path = "../sdk/logllm.rs"]
mod logllm;

use logllm::{Action, Record};

logllm::filter!(filter);

fn filter(record: &mut Record) -> Action {
    match record.str("level") {
        Some("debug") => return Action::Drop,
        Some("error") => record.set("seen_by", "{{name}}"),
        _ => {}
    }
    Action::Keep
}
