//! What a person may have overlooked about a network grant.

use rumi_policy::{DomainEntry, NetworkGrant, TcpEntry};

use super::directories::Remark;

/// Domains below which anybody can have a name of their own.
const SHARED: [&str; 14] = [
    "*.amazonaws.com",
    "*.appspot.com",
    "*.azurewebsites.net",
    "*.blob.core.windows.net",
    "*.cloudfront.net",
    "*.cloudfunctions.net",
    "*.fly.dev",
    "*.github.io",
    "*.githubusercontent.com",
    "*.herokuapp.com",
    "*.netlify.app",
    "*.run.app",
    "*.vercel.app",
    "*.workers.dev",
];

/// Everything too wide about it.
pub(crate) fn too_wide(grant: &NetworkGrant) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = grant.allowed_domains.iter().filter_map(wide).collect();
    remarks.extend(grant.tcp.iter().flatten().map(raw));
    remarks
}

/// A wildcard that covers names of people who have nothing to do with each other.
fn wide(entry: &DomainEntry) -> Option<Remark> {
    let text = entry.domain().as_str();
    let rest = text.strip_prefix("*.")?;
    let why = if !rest.contains('.') {
        "covers a whole top-level domain, where anybody can register a name"
    } else if SHARED.contains(&text) {
        "covers names that anybody can have from that provider"
    } else {
        return None;
    };
    Some(Remark {
        message: format!("`{entry}` {why}"),
        remedy: "name the hosts that are meant, one by one".to_owned(),
    })
}

fn raw(entry: &TcpEntry) -> Remark {
    Remark {
        message: format!(
            "`tcp` to `{entry}` carries anything: the broker sees bytes, and no host name, method or path"
        ),
        remedy: "keep it for protocols that do not begin with TLS; for HTTPS list the host in \
                 `allowed_domains` instead"
            .to_owned(),
    }
}

/// What narrows, and cannot be seen inside TLS.
pub(crate) fn narrowed(grant: &NetworkGrant) -> Option<Remark> {
    let key = match (&grant.methods, &grant.paths) {
        (Some(_), _) => "methods",
        (None, Some(_)) => "paths",
        (None, None) => return None,
    };
    let intercepted: Vec<String> = grant
        .intercept
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let seen = |entry: &DomainEntry| {
        intercepted
            .iter()
            .any(|host| host == entry.domain().as_str())
    };
    let hosts = match &intercepted[..] {
        [] => "the hosts of this grant",
        [..] if !grant.allowed_domains.is_empty() && grant.allowed_domains.iter().all(seen) => {
            return None;
        }
        [..] => "those of its hosts that `intercept` does not name",
    };
    Some(Remark {
        message: format!(
            "`{key}` cannot be seen inside TLS, so unmodified programs get no tunnel to {hosts}"
        ),
        remedy: format!(
            "name the hosts in `intercept`, or leave `{key}` out, if programs with HTTPS of their own must work; `rumi.fetch` works either way"
        ),
    })
}

#[cfg(test)]
mod tests {
    use rumi_policy::Grant;

    use super::{narrowed, too_wide};

    fn messages(keys: &str) -> Vec<String> {
        let text = format!(
            r#"{{"component_id": "a:tool:b", "permissions": {{"network": {{"enabled": true, {keys}}}}}}}"#
        );
        let grant = Grant::parse("a:tool:b.json", text.as_bytes()).unwrap();
        let grant = grant.network().unwrap();
        let remarks = too_wide(grant).into_iter().chain(narrowed(grant));
        remarks.map(|remark| remark.message).collect()
    }

    #[test]
    fn what_is_wide_raw_or_blind_is_remarked_on() {
        for (keys, parts) in [
            (
                r#""allowed_domains": ["*.example.com", "a.test:8443"]"#,
                &[][..],
            ),
            (
                r#""allowed_domains": ["*.com"]"#,
                &["`*.com` covers a whole"],
            ),
            (
                r#""allowed_domains": ["*.github.io:8443"]"#,
                &["`*.github.io:8443` covers names"],
            ),
            (
                r#""allowed_domains": [], "tcp": ["db.a:5432"]"#,
                &["`db.a:5432` carries anything"],
            ),
            (
                r#""allowed_domains": [], "methods": ["GET"], "paths": ["/"]"#,
                &["`methods` cannot be seen"],
            ),
            (
                r#""allowed_domains": [], "paths": ["/"]"#,
                &["`paths` cannot be seen"],
            ),
            (
                r#""allowed_domains": ["a.test"], "paths": ["/"], "intercept": ["a.test"]"#,
                &[],
            ),
            (
                r#""allowed_domains": ["a.test", "b.test"], "paths": ["/"], "intercept": ["a.test"]"#,
                &["`intercept` does not name"],
            ),
        ] {
            let messages = messages(keys);
            assert_eq!(messages.len(), parts.len(), "{keys}: {messages:?}");
            for (message, part) in messages.iter().zip(parts) {
                assert!(message.contains(part), "{keys}: {message}");
            }
        }
    }
}
