//! redact: masks secrets and personal data in every text of a record. The README says which, and what it leaves.

#[path = "../sdk/logllm.rs"]
mod logllm;

mod anchors;
mod bytes;
mod email;
mod names;
mod numbers;
mod scan;
mod sha256;
mod tokens;
mod words;

use logllm::{Action, Config, Plugin, Record, Texts};
use scan::{Kind, Kinds, Rules};

logllm::plugin!(Redact);

struct Redact {
    rules: Rules,
    skip_fields: Vec<String>,
    salt: Option<Vec<u8>>,
}

const LEAST_SALT: usize = 8;

fn kinds(list: &[String]) -> Result<Kinds, String> {
    let mut chosen = Kinds::none();
    for name in list {
        match Kind::ALL.iter().find(|kind| kind.label() == name) {
            Some(&kind) => chosen.add(kind),
            None => {
                let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.label()).collect();
                let known = known.join(", ");
                return Err(["`kinds`: no kind `", name, "`; expected some of ", &known].concat());
            }
        }
    }
    Ok(chosen)
}

impl Plugin for Redact {
    fn new(config: Config) -> Result<Self, String> {
        config.only(&["kinds", "skip_fields", "keep_private_ips", "hash", "salt"])?;
        let salt = config.str("salt")?.filter(|salt| salt.len() >= LEAST_SALT);
        let hash = config.bool("hash")?.unwrap_or(false);
        if hash && salt.is_none() {
            // Without a secret anyone can hash every address there is and compare.
            return Err("`hash` needs a `salt`: expected a secret text of 8 bytes or more".into());
        }
        let chosen = config.list("kinds")?.map(|list| kinds(&list)).transpose()?;
        Ok(Redact {
            rules: Rules {
                kinds: chosen.unwrap_or_else(Kinds::usual),
                keep_private_ips: config.bool("keep_private_ips")?.unwrap_or(true),
            },
            skip_fields: config.list("skip_fields")?.unwrap_or_default(),
            salt: salt.filter(|_| hash).map(String::into_bytes),
        })
    }

    fn filter(&mut self, record: &mut Record) -> Action {
        record.rewrite(self);
        Action::Keep
    }
}

impl Redact {
    /// Append what stands for a value.
    fn mark(&self, kind: Kind, value: &[u8], out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(kind.label().as_bytes());
        if let Some(salt) = &self.salt {
            let digest = sha256::hmac(salt, &scan::canonical(kind, value));
            out.push(b':');
            for byte in &digest[..4] {
                out.push(b"0123456789abcdef"[(byte >> 4) as usize]);
                out.push(b"0123456789abcdef"[(byte & 15) as usize]);
            }
        }
        out.push(b']');
    }
}

impl Texts for Redact {
    fn enter(&mut self, name: &[u8]) -> bool {
        !self
            .skip_fields
            .iter()
            .any(|skipped| skipped.as_bytes() == name)
    }

    fn text(&mut self, name: &[u8], text: &[u8], out: &mut Vec<u8>) -> bool {
        if self.rules.kinds.has(Kind::Secret) && names::is_secret_field(name, text) {
            self.mark(Kind::Secret, text, out);
            return true;
        }
        let mut done = 0;
        scan::scan(text, &self.rules, |start, end, kind| {
            if done == 0 {
                out.reserve((text.len() + 32).next_power_of_two());
            }
            out.extend_from_slice(&text[done..start]);
            self.mark(kind, &text[start..end], out);
            done = end;
        });
        if done > 0 {
            out.extend_from_slice(&text[done..]);
        }
        done > 0
    }
}
