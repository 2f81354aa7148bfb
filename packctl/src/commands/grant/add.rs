//! `packctl grant add COMPONENT PERMISSION VALUE…`

use rumi_policy::{
    ComponentId, HandlerName, Permission, PermissionName,
    edit::{self, ConditionsChange, Edited},
};

use super::{change, conditions, directories, handlers, permission};
use crate::{context::Context, failure::Failure, moment::Moment};

/// Grant something to a component
///
/// The file grants/COMPONENT.json is written anew in one step and takes effect
/// within a second; nothing needs a restart. Conditions (--expires, --not-before,
/// --max-uses, --rate, --ask) hold for all that the permission lists; `none` takes
/// one out again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packctl grant add default:tool:my_tool file_read /home/user/documents
  packctl grant add default:tool:my_tool file_write /home/user/reports
  packctl grant add default:tool:my_tool file_read --file /home/user/notes/today.md
  packctl grant add default:tool:my_tool env_read OPENAI_API_KEY
  packctl grant add default:tool:my_tool terminal /srv/work --command ls --command /usr/bin/wc
  packctl grant add default:tool:my_tool network api.openai.com '*.example.com:8443'
  packctl grant add default:tool:my_tool network tcp://db.example.com:5432
  packctl grant add default:tool:my_tool network api.openai.com --expires 2h --rate 60/min
  packctl grant add default:tool:my_tool env_read --max-uses 3
  packctl grant add default:tool:my_tool sqlite_query --config '{\"databases\": {\"shop\": \"/srv/shop.db\"}}'")]
pub(crate) struct Add {
    /// The component, as PACK:KIND:NAME
    component: ComponentId,

    /// The permission, or the name of a custom handler
    #[arg(value_parser = permission())]
    permission: PermissionName,

    /// Directories, keys, or HOST[:PORT] (443 where no port is given)
    #[arg(value_name = "VALUE")]
    values: Vec<String>,

    /// A program the terminal may run: its name or its path, and a glob for each argument where
    /// not all are meant ('git log *'); may be repeated
    #[arg(long = "command", value_name = "CMD")]
    commands: Vec<String>,

    /// One file, without what lies beside it; may be repeated
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<String>,

    /// Configuration of a custom handler, as a JSON object
    #[arg(long, value_name = "JSON")]
    config: Option<String>,

    #[command(flatten)]
    conditions: conditions::Options,
}

impl Add {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self.permission.clone() {
            PermissionName::BuiltIn(permission) => self.built_in(permission, context),
            PermissionName::Custom(handler) => self.custom(&handler, context),
        }
    }

    fn custom(self, handler: &HandlerName, context: &mut Context) -> Result<(), Failure> {
        if !(self.values.is_empty() && self.commands.is_empty() && self.files.is_empty()) {
            return Err(handlers::takes_no_values(handler));
        }
        let conditions = self.conditions(context)?;
        change::apply(context, &self.component, |before| {
            let added = edit::add_custom(before, &self.component, handler, self.config.as_deref())
                .map_err(|error| change::refused(&error))?;
            self.under(&conditions, Some(added), before)
        })?;
        let remarks = [
            handlers::missing(context, handler)?,
            directories::unknown(context, &self.component)?,
        ];
        for remark in remarks.into_iter().flatten() {
            context.console.warning(&remark.message);
            context.console.hint(&remark.remedy);
        }
        Ok(())
    }

    fn built_in(self, permission: Permission, context: &mut Context) -> Result<(), Failure> {
        if self.config.is_some() {
            return Err(Failure::Usage {
                message: format!("`{permission}` takes no `--config`; that is for custom handlers"),
                hint: "`packctl grant add --help` shows what each permission takes".to_owned(),
            });
        }
        let conditions = self.conditions(context)?;
        let adds = !(self.values.is_empty() && self.commands.is_empty() && self.files.is_empty());
        if !adds && conditions.is_none() {
            return Err(Failure::Usage {
                message: format!("nothing to add to `{}`", self.permission),
                hint: "`packctl grant add --help` shows what each permission takes".to_owned(),
            });
        }
        if permission == Permission::Network
            && let Some((url, host)) = url(&self.values)
        {
            return Err(Failure::Usage {
                message: format!("`{url}` is a URL; hosts are granted, not addresses of pages"),
                hint: format!("packctl grant add {} network {host}", self.component),
            });
        }
        let edit = edit::Change::parse(permission, &self.values, &self.commands)
            .and_then(|change| change.with_files(&self.files))
            .map_err(|error| change::refused(&error))?;
        change::apply(context, &self.component, |before| {
            let add = || edit::add(before, &self.component, &edit);
            let added = adds.then(add).transpose();
            let added = added.map_err(|error| change::refused(&error))?;
            self.under(&conditions, added, before)
        })?;
        if matches!(
            permission,
            Permission::FileRead | Permission::FileWrite | Permission::Terminal
        ) {
            directories::warn(context.console, &self.values);
            directories::warn_of_files(context.console, &self.files);
        }
        if permission == Permission::Terminal && adds && self.commands.is_empty() {
            context
                .console
                .say("commands are granted apart from directories: --command CMD");
        }
        if let Some(remark) = directories::unknown(context, &self.component)? {
            context.console.warning(&remark.message);
            context.console.hint(&remark.remedy);
        }
        Ok(())
    }
}

impl Add {
    fn conditions(&self, context: &Context) -> Result<ConditionsChange, Failure> {
        let now = Moment::now();
        let change = self
            .conditions
            .change(now)
            .map_err(|error| Failure::Usage {
                message: error.to_string(),
                hint: "name an earlier time; `none` takes a condition out".to_owned(),
            })?;
        conditions::warn(context.console, &change, now);
        Ok(change)
    }

    /// Puts the conditions on what was added, or on what is there.
    fn under(
        &self,
        conditions: &ConditionsChange,
        added: Option<Edited>,
        before: Option<&[u8]>,
    ) -> Result<Edited, Failure> {
        let so_far = added
            .as_ref()
            .map(|added| added.bytes.as_slice())
            .or(before);
        match added {
            Some(added) if conditions.is_none() => Ok(added),
            _ => {
                let set =
                    edit::set_conditions(so_far, &self.component, &self.permission, conditions)
                        .map_err(|error| change::refused(&error))?;
                let changed = set.changed || added.is_some_and(|added| added.changed);
                Ok(Edited { changed, ..set })
            }
        }
    }
}

/// The first value that is a URL, and its host with the port where it names one.
fn url(values: &[String]) -> Option<(&str, &str)> {
    values.iter().find_map(|value| {
        let (scheme, rest) = value.split_once("://")?;
        // What carries anything is granted as an address of this kind.
        if scheme == "tcp" {
            return None;
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host = host.rsplit('@').next().unwrap_or(host);
        Some((value.as_str(), host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_from_a_host() {
        for (value, host) in [
            ("https://a.b/c?d", Some("a.b")),
            ("http://a.b:81", Some("a.b:81")),
            ("https://u:p@a.b/", Some("a.b")),
            ("a.b:443", None),
            ("tcp://a.b:5432", None),
            ("[::1]:443", None),
        ] {
            assert_eq!(url(&[value.to_owned()]).map(|(_, host)| host), host);
        }
    }
}
