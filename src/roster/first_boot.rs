//! `--from-file`: everything a person would type at a first boot, in a file of the image. Read only; what a Box becomes of it is in
//! its state directory, so the image needs no writable place and holds no identity.

use std::net::SocketAddr;

use serde::Deserialize;
use smol_str::SmolStr;
use toml::Spanned;

use super::config::{Raw, RawDataSet, RawSnapshots, RawStore, check_name, line_of};
use super::{Config, RosterError};

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBoot {
    /// As `box.toml` will have it.
    pub config: Config,
    /// Where the Box stands.
    pub site: Option<SmolStr>,
    /// `init`: where the recovery words are written.
    pub sheet: Option<String>,
    /// `join`: the ticket.
    pub ticket: Option<String>,
    /// `join`: a file that holds the ticket.
    pub ticket_file: Option<String>,
    /// `join` and `recover`: whose history is continued.
    pub replaces: Option<SmolStr>,
    /// `recover`: where the surviving Box listens.
    pub from: Option<SocketAddr>,
    /// `recover`: a file that holds the words.
    pub words_file: Option<String>,
    /// `recover`: Boxes somebody else may have.
    pub lost: Vec<SmolStr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFirstBoot {
    name: Option<Spanned<String>>,
    listen: Option<Spanned<Vec<SocketAddr>>>,
    advertise: Option<Spanned<Vec<SocketAddr>>>,
    #[serde(default)]
    data: Vec<RawDataSet>,
    #[serde(default)]
    store: RawStore,
    #[serde(default)]
    snapshots: RawSnapshots,
    site: Option<Spanned<String>>,
    sheet: Option<String>,
    ticket: Option<String>,
    ticket_file: Option<String>,
    replaces: Option<Spanned<String>>,
    from: Option<SocketAddr>,
    words_file: Option<String>,
    #[serde(default)]
    lost: Vec<Spanned<String>>,
}

impl FirstBoot {
    /// Reads the file. Without a `name` the Box is called as its machine is (`host`), so that one image serves several.
    pub fn from_toml(text: &str, host: &str) -> Result<Self, RosterError> {
        let fail = |at: usize, what: String| RosterError::FirstBoot {
            line: line_of(text, at),
            what,
        };
        let raw: RawFirstBoot = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            fail(at, error.message().replace('\n', " "))
        })?;
        let named = |said: Option<Spanned<String>>| -> Result<Option<SmolStr>, RosterError> {
            let Some(said) = said else { return Ok(None) };
            check_name(said.get_ref()).map_err(|what| fail(said.span().start, what))?;
            Ok(Some(said.into_inner().into()))
        };
        if raw.ticket.is_some() && raw.ticket_file.is_some() {
            return Err(fail(
                0,
                "there is a ticket and a ticket_file; name one".into(),
            ));
        }
        let name = raw
            .name
            .unwrap_or_else(|| Spanned::new(0..0, host.to_owned()));
        let of_box = Raw {
            name,
            listen: raw.listen,
            advertise: raw.advertise,
            data: raw.data,
            store: raw.store,
            snapshots: raw.snapshots,
        };
        let config = Config::from_raw(text, of_box).map_err(|error| match error {
            RosterError::Config { line, what } => RosterError::FirstBoot { line, what },
            other => other,
        })?;
        let lost = raw.lost.into_iter().map(|name| named(Some(name)));
        let lost: Vec<Option<SmolStr>> = lost.collect::<Result<_, _>>()?;
        Ok(Self {
            config,
            site: named(raw.site)?,
            sheet: raw.sheet,
            ticket: raw.ticket,
            ticket_file: raw.ticket_file,
            replaces: named(raw.replaces)?,
            from: raw.from,
            words_file: raw.words_file,
            lost: lost.into_iter().flatten().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_a_person_would_type() {
        let text = "site = \"attic\"\nticket = \"reserve-x\"\nreplaces = \"home\"\nlost = [\"office\"]\nfrom = \"192.0.2.1:7717\"\n\n[store]\ncapacity_bytes = 5\n\n[[data]]\nname = \"photos\"\npath = \"/srv/photos\"\n";
        let first = FirstBoot::from_toml(text, "box-7").expect("legal");
        assert_eq!(first.config.name, "box-7");
        assert_eq!(first.config.store.capacity_bytes, Some(5));
        assert_eq!(first.config.data[0].path, "/srv/photos");
        assert_eq!(first.site.as_deref(), Some("attic"));
        assert_eq!(first.lost, ["office"]);
        let named = FirstBoot::from_toml("name = \"office\"\n", "box-7").expect("legal");
        assert_eq!(named.config.name, "office");
    }

    #[test]
    fn a_wrong_line_is_refused_by_name_and_number() {
        for (text, at, word) in [
            ("name = \"a\"\ntickets = \"x\"\n", 2, "tickets"),
            ("name = \"a\"\nsite = \"b c\"\n", 2, "b c"),
            (
                "name = \"a\"\n\n[store]\ncapacity_bytes = 0\n",
                4,
                "capacity_bytes",
            ),
            ("name = \"a\"\nlost = [\"\"]\n", 2, "cannot be a name"),
            ("ticket = \"a\"\nticket_file = \"b\"\n", 1, "ticket_file"),
            ("\n", 1, "cannot be a name"),
        ] {
            let Err(RosterError::FirstBoot { line, what }) = FirstBoot::from_toml(text, "") else {
                panic!("{text}");
            };
            assert!(line == at && what.contains(word), "{text}: {line}, {what}");
        }
    }
}
