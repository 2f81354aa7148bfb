//! Which component a worker serves.

use std::{fmt, path::PathBuf, str::FromStr};

/// `pack:kind:name`. Only characters that are harmless in a file name, because the
/// component's socket is named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentId(String);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a component: expected `pack:kind:name`, such as `default:tool:my_tool`")]
pub(crate) struct NotAComponent(String);

impl ComponentId {
    /// Where the broker listens for this component.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/run/rumi/{}.sock", self.0))
    }

    /// Whether it runs for as long as its pack, instead of being called.
    pub(crate) fn is_service(&self) -> bool {
        self.0.split(':').nth(1) == Some("service")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ComponentId {
    type Err = NotAComponent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        let sound = match parts {
            (Some(pack), Some("tool" | "service"), Some(name), None) => {
                is_name(pack, 48) && is_name(name, 64)
            }
            _ => false,
        };
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAComponent(text.to_owned()))
        }
    }
}

fn is_name(text: &str, longest: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= longest
        && text.bytes().next().is_some_and(plain)
        && text
            .bytes()
            .all(|byte| plain(byte) || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_manifest_takes_and_nothing_else() {
        let long = format!("a:tool:{}", "n".repeat(65));
        let cases = [
            ("default:tool:my_tool", true),
            ("d-1:service:bot", true),
            ("default:tool", false),
            ("default:tool:a:b", false),
            ("default:job:x", false),
            ("../x:tool:a", false),
            ("a:tool:b/c", false),
            ("A:tool:b", false),
            (":tool:b", false),
            ("a:tool:", false),
            ("a:tool:_b", false),
            (long.as_str(), false),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ComponentId>().is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn names_its_socket() {
        let component: ComponentId = "default:tool:my_tool".parse().unwrap();
        assert_eq!(
            component.socket(),
            PathBuf::from("/run/rumi/default:tool:my_tool.sock")
        );
        assert!(!component.is_service());
        let service: ComponentId = "default:service:tool".parse().unwrap();
        assert!(service.is_service());
    }
}
