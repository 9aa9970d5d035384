//! The shared configuration: what all Boxes of a reserve agree on, as settings people can read and change.
//!
//! Each setting is a fact of its own, so edits made apart merge setting by setting. What was never said is as usual.

use super::{Roster, RosterError};
use crate::format::roster::{Fact, Retention, Subject, Value};
use crate::terms::limits::{
    EVENT_PERIOD_HOURS_DEFAULT, EVENT_PERIOD_HOURS_MAX, FACTOR_DEFAULT, KEEPER_AWAY_HOURS_DEFAULT,
    KEEPER_AWAY_HOURS_MAX, MEMBERS_MAX, RELEASE_DELAY_DAYS_DEFAULT, RELEASE_DELAY_DAYS_MAX,
    RELEASE_DELAY_DAYS_MIN, SWEEP_PERIOD_DAYS_DEFAULT, SWEEP_PERIOD_DAYS_MAX,
    WARNING_WINDOW_DAYS_DEFAULT, WARNING_WINDOW_DAYS_MAX,
};
use crate::terms::{Limitation, PeerKey};
use ed25519_dalek::SigningKey;

/// A setting all Boxes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedKey {
    /// Copies a chunk should have.
    Factor,
    /// Copies below which nothing is called protected.
    FactorMin,
    /// Hours between events that all is well.
    EventPeriod,
    /// Days before a limit is reached people must be told.
    WarningWindow,
    /// The same for one limitation.
    WarningWindowOf(Limitation),
    /// Days within which everything is read again.
    SweepPeriod,
    /// Hours a keeper may stay away before its copies are made elsewhere.
    KeeperAway,
    /// Days of its running time after which a keeper lets go of what an author gave up.
    ReleaseDelay,
    /// Which snapshots are kept.
    Retention,
}

/// A setting as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSetting {
    /// What people type.
    pub key: String,
    /// In force now.
    pub value: String,
    /// What the value counts; empty if nothing.
    pub unit: &'static str,
    /// Whether somebody said it; else it is as usual.
    pub is_said: bool,
}

impl SharedKey {
    /// All of them, in the order they are listed.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Factor,
            Self::FactorMin,
            Self::EventPeriod,
            Self::WarningWindow,
        ];
        all.extend(Limitation::ALL.map(Self::WarningWindowOf));
        all.extend([
            Self::SweepPeriod,
            Self::KeeperAway,
            Self::ReleaseDelay,
            Self::Retention,
        ]);
        all
    }

    /// What people type.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Factor => "replication_factor".into(),
            Self::FactorMin => "replication_factor_min".into(),
            Self::EventPeriod => "event_period_hours".into(),
            Self::WarningWindow => "warning_window_days".into(),
            Self::WarningWindowOf(limitation) => {
                format!("warning_window_days.{}", limitation.name())
            }
            Self::SweepPeriod => "sweep_period_days".into(),
            Self::KeeperAway => "keeper_away_hours".into(),
            Self::ReleaseDelay => "release_delay_days".into(),
            Self::Retention => "retention".into(),
        }
    }

    /// What somebody typed.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|key| key.name() == name)
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Factor | Self::FactorMin => "copies",
            Self::EventPeriod | Self::KeeperAway => "hours",
            Self::WarningWindow
            | Self::WarningWindowOf(_)
            | Self::SweepPeriod
            | Self::ReleaseDelay => "days",
            Self::Retention => "",
        }
    }

    /// Where its fact stands.
    pub(super) fn slot(self) -> Option<u8> {
        self.value("default").ok().map(|value| value.slot())
    }

    /// The fact a text stands for; `default` unsays it.
    fn value(self, text: &str) -> Result<Value, String> {
        let between = |least: u16, most: u16| -> Result<u16, String> {
            if text == "default" {
                return Ok(0);
            }
            match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!(
                    "{} must be a number from {least} to {most}, or \"default\", not \"{}\"",
                    self.name(),
                    text.escape_debug()
                )),
            }
        };
        let number = |most| between(1, most);
        let copies = || {
            let most = u16::try_from(MEMBERS_MAX - 1).unwrap_or(u16::MAX);
            number(most).map(|copies| u8::try_from(copies).unwrap_or(u8::MAX))
        };
        Ok(match self {
            Self::Factor => Value::Factor(copies()?),
            Self::FactorMin => Value::FactorMin(copies()?),
            Self::EventPeriod => Value::EventPeriod(number(EVENT_PERIOD_HOURS_MAX)?),
            Self::WarningWindow => Value::WarningWindow(number(WARNING_WINDOW_DAYS_MAX)?),
            Self::WarningWindowOf(of) => {
                Value::WarningWindowOf(of, number(WARNING_WINDOW_DAYS_MAX)?)
            }
            Self::SweepPeriod => Value::SweepPeriod(number(SWEEP_PERIOD_DAYS_MAX)?),
            Self::KeeperAway => Value::KeeperAway(number(KEEPER_AWAY_HOURS_MAX)?),
            Self::ReleaseDelay => {
                Value::ReleaseDelay(between(RELEASE_DELAY_DAYS_MIN, RELEASE_DELAY_DAYS_MAX)?)
            }
            Self::Retention => Value::Retention(retention_from(text)?),
        })
    }
}

const RETENTION: &str = "retention must be \"all\", or how many are kept of each age, for example \"last=10 hourly=48 daily=30 weekly=12 monthly=24 yearly=10\"";

fn retention_from(text: &str) -> Result<Retention, String> {
    let mut kept = Retention::default();
    if matches!(text, "all" | "default") {
        return Ok(kept);
    }
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    for word in words {
        let (age, many) = word.split_once('=').ok_or(RETENTION)?;
        let place = match age {
            "hourly" => &mut kept.hourly,
            "daily" => &mut kept.daily,
            "weekly" => &mut kept.weekly,
            "monthly" => &mut kept.monthly,
            "yearly" => &mut kept.yearly,
            "last" => &mut kept.last,
            _ => return Err(format!("{RETENTION}; \"{}\" is no age", age.escape_debug())),
        };
        *place = many
            .parse()
            .map_err(|_| format!("{RETENTION}; \"{}\" is no number", many.escape_debug()))?;
    }
    if kept == Retention::default() {
        return Err(format!("{RETENTION}; keeping none is not possible"));
    }
    Ok(kept)
}

fn retention_text(kept: &Retention) -> String {
    let Retention {
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        last,
    } = kept;
    if *kept == Retention::default() {
        return "all".into();
    }
    format!(
        "last={last} hourly={hourly} daily={daily} weekly={weekly} monthly={monthly} yearly={yearly}"
    )
}

impl Roster {
    fn fact(&self, key: SharedKey) -> Option<&Fact> {
        self.facts
            .get(&(Subject::Reserve, key.slot()?))
            .map(|signed| &signed.fact)
    }

    fn said(&self, key: SharedKey) -> Option<&Value> {
        self.fact(key).map(|fact| &fact.value)
    }

    /// Who said a setting, if somebody did.
    pub(super) fn said_by(&self, key: SharedKey) -> Option<PeerKey> {
        self.fact(key).map(|fact| fact.signer)
    }

    /// The value in force of a setting that is a number.
    fn number(&self, key: SharedKey) -> (u16, bool) {
        let said = match self.said(key) {
            Some(Value::Factor(copies) | Value::FactorMin(copies)) => u16::from(*copies),
            Some(
                Value::EventPeriod(number)
                | Value::WarningWindow(number)
                | Value::WarningWindowOf(_, number)
                | Value::SweepPeriod(number)
                | Value::KeeperAway(number)
                | Value::ReleaseDelay(number),
            ) => *number,
            _ => 0,
        };
        if said > 0 {
            return (said, true);
        }
        let (factor, factor_min) = self.factors();
        let usual = match key {
            SharedKey::Factor => u16::from(factor.max(1)),
            SharedKey::FactorMin => u16::from(factor_min),
            SharedKey::EventPeriod => EVENT_PERIOD_HOURS_DEFAULT,
            SharedKey::WarningWindow => WARNING_WINDOW_DAYS_DEFAULT,
            SharedKey::WarningWindowOf(_) => self.number(SharedKey::WarningWindow).0,
            SharedKey::SweepPeriod => SWEEP_PERIOD_DAYS_DEFAULT,
            SharedKey::KeeperAway => KEEPER_AWAY_HOURS_DEFAULT,
            SharedKey::ReleaseDelay => RELEASE_DELAY_DAYS_DEFAULT,
            SharedKey::Retention => 0,
        };
        (usual, false)
    }

    /// Hours between events that all is well.
    #[must_use]
    pub fn event_period_hours(&self) -> u16 {
        self.number(SharedKey::EventPeriod).0
    }

    /// Days before a limit is reached people must be told.
    #[must_use]
    pub fn warning_window_days(&self, limitation: Limitation) -> u16 {
        self.number(SharedKey::WarningWindowOf(limitation)).0
    }

    /// Days within which everything is read again.
    #[must_use]
    pub fn sweep_period_days(&self) -> u16 {
        self.number(SharedKey::SweepPeriod).0
    }

    /// Hours a keeper may stay away before its copies are made elsewhere.
    #[must_use]
    pub fn keeper_away_hours(&self) -> u16 {
        self.number(SharedKey::KeeperAway).0
    }

    /// Days of its running time after which a keeper lets go of what an author gave up.
    #[must_use]
    pub fn release_delay_days(&self) -> u16 {
        self.number(SharedKey::ReleaseDelay).0
    }

    /// Which snapshots are kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        match self.said(SharedKey::Retention) {
            Some(Value::Retention(kept)) => *kept,
            _ => Retention::default(),
        }
    }

    /// A setting as it is now.
    #[must_use]
    pub fn setting(&self, key: SharedKey) -> SharedSetting {
        let (value, is_said) = match key {
            SharedKey::Retention => {
                let kept = self.retention();
                (retention_text(&kept), kept != Retention::default())
            }
            _ => {
                let (number, is_said) = self.number(key);
                (number.to_string(), is_said)
            }
        };
        SharedSetting {
            key: key.name(),
            value,
            unit: key.unit(),
            is_said,
        }
    }

    /// Settings that were said anew since `before`, each as it was, as it is, and who said it.
    #[must_use]
    pub fn settings_changed_since(
        &self,
        before: &Self,
    ) -> Vec<(SharedSetting, SharedSetting, Option<PeerKey>)> {
        let keys = SharedKey::all().into_iter();
        keys.filter(|key| self.said(*key) != before.said(*key))
            .map(|key| (before.setting(key), self.setting(key), self.said_by(key)))
            .collect()
    }

    /// Changes a setting for all Boxes; gives it as it was and as it is. What is impossible changes nothing.
    pub fn change_setting(
        &mut self,
        name: &str,
        text: &str,
        by: &SigningKey,
    ) -> Result<(SharedSetting, SharedSetting), RosterError> {
        let key = SharedKey::from_name(name).ok_or_else(|| {
            let known: Vec<_> = SharedKey::all().into_iter().map(SharedKey::name).collect();
            RosterError::Edit(format!(
                "there is no shared setting \"{}\"; there are {}",
                name.escape_debug(),
                known.join(", ")
            ))
        })?;
        let value = key.value(text).map_err(RosterError::Edit)?;
        self.refuse_contradiction(&value)?;
        let before = self.setting(key);
        if self.said(key) != Some(&value) && (before.is_said || text != "default") {
            self.set(Subject::Reserve, value, by)?;
        }
        Ok((before, self.setting(key)))
    }

    /// More copies at least than wanted would never be protected.
    fn refuse_contradiction(&self, value: &Value) -> Result<(), RosterError> {
        let said = |key| match self.number(key) {
            (number, true) => number,
            (_, false) => 0,
        };
        let wanted = |copies: u16| {
            if copies == 0 {
                u16::from(FACTOR_DEFAULT)
            } else {
                copies
            }
        };
        let (factor, least) = match value {
            Value::Factor(copies) => (wanted((*copies).into()), said(SharedKey::FactorMin)),
            Value::FactorMin(copies) => (wanted(said(SharedKey::Factor)), u16::from(*copies)),
            _ => return Ok(()),
        };
        if least > factor {
            return Err(RosterError::Edit(format!(
                "replication_factor_min would be {least} and replication_factor {factor}: nothing could ever be protected; change the other one first"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Config, Founding, LoadedBox, init};
    use super::*;

    async fn home() -> LoadedBox {
        let disk = MemoryDisk::new();
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        init(&disk, &Counting::default(), founding, |_| Ok(()))
            .await
            .expect("new");
        LoadedBox::load(&disk).await.expect("a Box")
    }

    #[tokio::test]
    async fn every_setting_is_read_changed_and_unsaid() {
        let mut home = home().await;
        let by = home.identity.signing.clone();
        for key in SharedKey::all() {
            let usual = home.roster.setting(key);
            assert!(!usual.is_said, "{usual:?}");
            let text = match key {
                SharedKey::Retention => "last=6 hourly=1 daily=2 weekly=3 monthly=4 yearly=5",
                SharedKey::ReleaseDelay => "7",
                _ => "3",
            };
            let changed = home.roster.change_setting(&key.name(), text, &by);
            let (before, now) = changed.expect("possible");
            assert_eq!(
                (before, now.value.as_str(), now.is_said),
                (usual.clone(), text, true)
            );
            let hash = home.roster.hash();
            home.roster
                .change_setting(&key.name(), text, &by)
                .expect("possible");
            assert_eq!(home.roster.hash(), hash, "nothing new was said");
            home.roster
                .change_setting(&key.name(), "default", &by)
                .expect("possible");
            assert_eq!(home.roster.setting(key), usual);
        }
    }

    #[tokio::test]
    async fn a_limitation_has_the_common_window_unless_it_has_one_of_its_own() {
        let mut home = home().await;
        let by = home.identity.signing.clone();
        let mut set = |key: &str, text: &str| {
            home.roster
                .change_setting(key, text, &by)
                .expect("possible");
        };
        set("warning_window_days", "60");
        set("warning_window_days.wear", "200");
        assert_eq!(home.roster.warning_window_days(Limitation::Disk), 60);
        assert_eq!(home.roster.warning_window_days(Limitation::Wear), 200);
    }

    #[tokio::test]
    async fn the_impossible_is_refused_by_name_and_changes_nothing() {
        let mut home = home().await;
        let by = home.identity.signing.clone();
        let before = home.roster.clone();
        for (key, text) in [
            ("replication_factor", "0"),
            ("replication_factor", "64"),
            ("replication_factor_min", "-1"),
            ("replication_factor_min", "4"),
            ("event_period_hours", "745"),
            ("warning_window_days.disk", "soon"),
            ("sweep_period_days", ""),
            ("retention", "hourly"),
            ("retention", "hourly=x"),
            ("retention", "minutely=3"),
            ("retention", "daily=0"),
            ("colour", "blue"),
        ] {
            let error = home.roster.change_setting(key, text, &by);
            let error = error.expect_err(key).to_string();
            assert!(
                error.contains(key) && error.contains("nothing was changed"),
                "{error}"
            );
            assert_eq!(home.roster, before);
        }
    }
}
