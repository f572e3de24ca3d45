//! Accounts: fields of maps in which a program counts every packet exactly once, and the check that none is missing.

use anyhow::{Context, Result, anyhow, bail};
use hitless::upgrade::Report;
use hitless::{Collection, Map};
use hitless_btf::value::Value;
use serde::Serialize;

/// The accounts that are used if none are given, and the object has them.
const DEFAULT: [&str; 3] = ["flows.packets", ".bss.deleted_packets", ".bss.failed_packets"];

/// An integer field of a map's values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    map: String,
    /// Members by name, joined with "."; empty if the value itself is the integer.
    field: String,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dot = if self.field.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}", self.map, self.field)
    }
}

/// The accounts that were asked for, or those of the default ones that the object has.
pub(crate) fn find(names: &[String], collection: &Collection) -> Result<Vec<Account>> {
    if names.is_empty() {
        let known = DEFAULT.iter().filter_map(|name| Account::find(name, collection).ok());
        return Ok(known.collect());
    }
    let found = names.iter().map(|name| Account::find(name, collection));
    found.collect()
}

impl Account {
    fn find(name: &str, collection: &Collection) -> Result<Account> {
        let parts = collection.maps().iter().filter_map(|map| {
            let field = name.strip_prefix(map.name())?;
            let field = if field.is_empty() {
                field
            } else {
                field.strip_prefix('.')?
            };
            Some((map, field))
        });
        // Names of maps may have dots, too: the longest that fits.
        let Some((map, field)) = parts.max_by_key(|(map, _)| map.name().len()) else {
            let maps: Vec<&str> = collection.maps().iter().map(|map| map.name()).collect();
            bail!("account {name}: no such map, expected one of: {}", maps.join(", "));
        };
        let account = Account {
            map: map.name().to_owned(),
            field: field.to_owned(),
        };
        let zero = read(map, &vec![0; map.def().value_size as usize]).with_context(|| format!("account {name}"))?;
        account.of(&zero)?;
        Ok(account)
    }

    /// The field's number in a value.
    fn of(&self, value: &Value) -> Result<i128> {
        let mut part = value;
        for name in self.field.split('.').filter(|name| !name.is_empty()) {
            let Value::Struct(members) = part else {
                bail!("account {self}: found {part}, which has no field {name}");
            };
            let Some((_, member)) = members.iter().find(|(member, _)| *member == name) else {
                let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                bail!("account {self}: no field {name}, expected one of: {}", names.join(", "));
            };
            part = member;
        }
        match part {
            Value::Int(number) => Ok((*number).into()),
            Value::UInt(number) => Ok((*number).into()),
            other => bail!("account {self}: found {other}, expected an integer"),
        }
    }

    /// The sum over all elements.
    fn sum(&self, collection: &Collection) -> Result<i128> {
        let map = collection.map(&self.map);
        let map = map.ok_or_else(|| anyhow!("account {self}: the new object has no map {}", self.map))?;
        let entries = map.entries().with_context(|| format!("account {self}"))?;
        entries.iter().map(|(_, value)| self.of(&read(map, value)?)).sum()
    }

    /// The account in the new object: a field may have another name there.
    fn after(&self, report: &Report) -> Account {
        let plan = report
            .maps
            .iter()
            .map(|map| &map.plan)
            .find(|plan| plan.name == self.map);
        let field = plan.and_then(|plan| {
            let mut fields = plan.value_fields.iter();
            fields.find(|field| field.renamed_from.as_deref() == Some(&self.field))
        });
        Account {
            map: self.map.clone(),
            field: field.map_or_else(|| self.field.clone(), |field| field.path.clone()),
        }
    }
}

/// The accounts as they are called after an upgrade.
pub(crate) fn after(accounts: &[Account], report: &Report) -> Vec<Account> {
    accounts.iter().map(|account| account.after(report)).collect()
}

fn read(map: &Map, value: &[u8]) -> Result<Value> {
    let (Some(btf), Some(value_type)) = (map.btf(), map.value_type()) else {
        bail!("map {} has no BTF that describes its values", map.name());
    };
    Ok(btf.value(value_type, value)?)
}

/// What the accounts hold, against what was sent.
#[derive(Serialize, Debug)]
pub(crate) struct Check {
    accounts: Vec<Sum>,
    /// Packets sent, as the senders counted them.
    sent: u64,
    /// Packets sent less the sum of the accounts: 0, unless packets were lost (or, if negative, counted twice).
    pub(crate) lost: i128,
}

#[derive(Serialize, Debug)]
struct Sum {
    name: String,
    sum: i128,
}

/// Compares the accounts with what was sent; `None` if there are no accounts. Nothing may be running.
pub(crate) fn check(accounts: &[Account], collection: &Collection, sent: u64) -> Result<Option<Check>> {
    if accounts.is_empty() {
        return Ok(None);
    }
    let sums = accounts.iter().map(|account| {
        Ok(Sum {
            name: account.to_string(),
            sum: account.sum(collection)?,
        })
    });
    let accounts = sums.collect::<Result<Vec<_>>>()?;
    let lost = i128::from(sent) - accounts.iter().map(|account| account.sum).sum::<i128>();
    Ok(Some(Check { accounts, sent, lost }))
}

impl Check {
    /// An error unless the accounts hold what was sent.
    pub(crate) fn require(&self) -> Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let found = i128::from(self.sent) - self.lost;
        bail!(
            "the accounts hold {found} packets, expected the {} that were sent: lost {}",
            self.sent,
            self.lost
        );
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, account) in self.accounts.iter().enumerate() {
            let plus = if index == 0 { "" } else { " + " };
            write!(f, "{plus}{} {}", account.name, account.sum)?;
        }
        let found = i128::from(self.sent) - self.lost;
        write!(f, " = {found}, packets sent {}: lost {}", self.sent, self.lost)
    }
}
