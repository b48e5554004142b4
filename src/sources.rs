//! Where configuration comes from: default < TOML file < `NEARCAST_SECTION__KEY` < flag.
//!
//! Each source is a list of settings (a key, a value, a place). A setting is applied to the table of all values one at
//! a time, and each application is checked by reading the whole table as a [`Config`]; so whatever is wrong is
//! known by its place, whichever source it came from, and all faults are reported at once. The table of the defaults
//! is also the list of valid keys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::config::Config;

/// Something wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where: `file:line:column`, the name of a variable, a flag, or nothing for a default.
    pub place: String,
    /// What, with the key and the nearest good one.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// One value that somebody chose.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The key, such as `http.listen`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Who said so, for messages.
    pub place: String,
}

/// Reads all sources, weakest first.
///
/// # Errors
/// With all faults, when there is one.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: Vec<Setting>,
) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut values = defaults();
    let mut places = BTreeMap::new();
    let from_file = file.map(|path| read_file(path, &values, &mut faults)).unwrap_or_default();
    let from_environment = read_environment(environment, &values, &mut faults);
    for setting in from_file.into_iter().chain(from_environment).chain(flags) {
        match apply(&mut values, &setting) {
            Ok(()) => drop(places.insert(setting.key, setting.place)),
            Err(message) => faults.push(Fault { place: setting.place, message }),
        }
    }
    let config = Config::deserialize(Value::Table(values));
    let config = config.map_err(|error| {
        faults.push(Fault { place: "configuration".to_owned(), message: error.message().to_owned() });
    });
    let Ok(config) = config else { return Err(faults) };
    faults.extend(config.check().into_iter().map(|finding| Fault {
        place: places.get(finding.key).cloned().unwrap_or_else(|| "configuration".to_owned()),
        message: format!("`{}` {}", finding.key, finding.message),
    }));
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn defaults() -> Table {
    // A failure shows itself in every test: the defaults are plain data.
    Table::try_from(Config::default()).unwrap_or_default()
}

/// Puts one value into the table if the table still is a configuration then.
fn apply(values: &mut Table, setting: &Setting) -> Result<(), String> {
    let mut tried = values.clone();
    let slot = setting
        .key
        .split_once('.')
        .and_then(|(section, key)| tried.get_mut(section)?.as_table_mut().map(|table| (table, key)));
    let Some((table, key)) = slot else { return Err(unknown(&setting.key, values)) };
    let default = table.insert(key.to_owned(), setting.value.clone());
    match Config::deserialize(Value::Table(tried.clone())) {
        Ok(_) => {
            *values = tried;
            Ok(())
        }
        Err(error) => {
            let good = default.map(|value| format!("; a good value is {value}")).unwrap_or_default();
            Err(format!("`{}` = {}: {}{good}", setting.key, setting.value, error.message()))
        }
    }
}

fn read_file(path: &Path, known: &Table, faults: &mut Vec<Fault>) -> Vec<Setting> {
    let name = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            faults.push(Fault { place: name, message: format!("cannot be read: {error}") });
            return Vec::new();
        }
    };
    let place = |span: Range<usize>| {
        let (line, column) = position(&text, span.start);
        format!("{name}:{line}:{column}")
    };
    let (spans, values) = match (DeTable::parse(&text), text.parse::<Table>()) {
        (Ok(spans), Ok(values)) => (spans, values),
        (Err(error), _) | (_, Err(error)) => {
            let place = error.span().map_or_else(|| name.clone(), place);
            faults.push(Fault { place, message: error.message().trim().to_owned() });
            return Vec::new();
        }
    };
    let mut settings = Vec::new();
    for (section, entry) in in_order(spans.get_ref()) {
        let section_name: &str = section.get_ref();
        let keys = known.get(section_name).and_then(Value::as_table);
        let (Some(keys), DeValue::Table(entries)) = (keys, entry.get_ref()) else {
            let message = match keys {
                Some(_) => {
                    format!("`{section_name}` is a section: write [{section_name}] and its keys below")
                }
                None => unknown(section_name, known),
            };
            faults.push(Fault { place: place(section.span()), message });
            continue;
        };
        for (key, _) in in_order(entries) {
            let own: &str = key.get_ref();
            let full = format!("{section_name}.{own}");
            let value = values.get(section_name).and_then(|table| table.get(own));
            match value.filter(|_| keys.contains_key(own)) {
                Some(value) => {
                    settings.push(Setting { key: full, value: value.clone(), place: place(key.span()) });
                }
                None => faults.push(Fault { place: place(key.span()), message: unknown(&full, known) }),
            }
        }
    }
    settings
}

/// Returns the entries as they stand in the file, so that faults are told from top to bottom.
fn in_order<'a, 'text>(table: &'a DeTable<'text>) -> Vec<Entry<'a, 'text>> {
    let mut entries: Vec<Entry<'a, 'text>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A key and its value, with their places.
type Entry<'a, 'text> = (&'a Spanned<Cow<'text, str>>, &'a Spanned<DeValue<'text>>);

/// Takes the variables of ours. One with a double underscore must name a key; one without is ours only if it is
/// nearly the name of a key, since other programs of the project have variables too.
fn read_environment(
    environment: impl Iterator<Item = (String, String)>,
    known: &Table,
    faults: &mut Vec<Fault>,
) -> Vec<Setting> {
    let names: BTreeMap<String, (String, &Value)> =
        keys(known).map(|(key, value)| (variable(&key), (key, value))).collect();
    let mut settings = Vec::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if let Some((key, default)) = names.get(&name) {
            settings.push(Setting { key: key.clone(), value: value_of(&text, default), place: name });
            continue;
        }
        let nearest = nearest(&name, names.keys().map(String::as_str));
        let is_ours =
            rest.contains("__") || nearest.as_ref().is_some_and(|(_, similarity)| *similarity >= TYPO_MIN);
        if is_ours {
            let hint = nearest.map(|(name, _)| format!("; did you mean {name}?")).unwrap_or_default();
            faults.push(Fault { place: name, message: format!("is no key of the configuration{hint}") });
        }
    }
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

/// Reads a variable as its default is typed, a list with commas or as it stands in a file; what does not fit stays text,
/// and the type check will say so.
fn value_of(text: &str, default: &Value) -> Value {
    let own = || Value::String(text.to_owned());
    match default {
        Value::Integer(_) => text.parse().map_or_else(|_| own(), Value::Integer),
        Value::Float(_) => text.parse().map_or_else(|_| own(), Value::Float),
        Value::Boolean(_) => text.parse().map_or_else(|_| own(), Value::Boolean),
        Value::Array(_) if text.trim_start().starts_with('[') => toml_value(text).unwrap_or_else(own),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => own(),
    }
}

/// Reads a value as it stands in a file.
fn toml_value(text: &str) -> Option<Value> {
    format!("value = {text}").parse::<Table>().ok()?.remove("value")
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

fn keys(table: &Table) -> impl Iterator<Item = (String, &Value)> {
    table.iter().flat_map(|(section, value)| {
        let entries = value.as_table().into_iter().flatten();
        entries.map(move |(key, value)| (format!("{section}.{key}"), value))
    })
}

fn unknown(key: &str, known: &Table) -> String {
    let candidates: Vec<String> = if key.contains('.') {
        keys(known).map(|(key, _)| key).collect()
    } else {
        known.keys().cloned().chain(keys(known).map(|(key, _)| key)).collect()
    };
    let hint = nearest(key, candidates.iter().map(String::as_str))
        .map(|(name, _)| format!("; did you mean `{name}`?"))
        .unwrap_or_default();
    format!("`{key}` is no key of the configuration{hint}")
}

/// Returns the most similar name and how similar it is, from 0 to 1. For a bare key the last part of a full one
/// counts too: who writes `listen` outside of its section means `http.listen`.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<(&'a str, f64)> {
    let name = name.to_ascii_lowercase();
    candidates
        .map(|candidate| {
            let full = candidate.to_ascii_lowercase();
            let last = full.rsplit('.').next().unwrap_or_default();
            let own = name.rsplit('.').next().unwrap_or_default();
            let by_last = strsim::jaro_winkler(own, last) * 0.95;
            (candidate, strsim::jaro_winkler(&name, &full).max(by_last))
        })
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Returns line and column of a byte, both from one; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

const PREFIX: &str = "NEARCAST_";
/// How similar an unknown variable must be to one of ours to be taken for a slip.
const TYPO_MIN: f64 = 0.93;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let file = TempFile::new("[media]\nshards = 2\nsessions_max = 7\n[http]\nrequests_burst = 9\n");
        let environment =
            variables(&[("NEARCAST_MEDIA__SHARDS", "3"), ("NEARCAST_MEDIA__SESSIONS_MAX", "8")]);

        let config = load(Some(&file.0), environment, vec![flag("media.shards", Value::Integer(4))]).unwrap();

        assert_eq!((config.media.shards, config.media.sessions_max, config.http.requests_burst), (4, 8, 9));
        assert_eq!(config.http.sockets_max, Config::default().http.sockets_max);
    }

    #[test]
    fn variables_take_the_type_of_their_key() {
        let config = load(
            None,
            variables(&[
                ("NEARCAST_HTTP__LISTEN", "127.0.0.1:0, [::1]:0"),
                ("NEARCAST_HTTP__ALLOWED_ORIGINS", "[\"https://a.example\", \"https://b.example\"]"),
                ("NEARCAST_HTTP__REQUESTS_PER_SECOND", "2.5"),
                ("NEARCAST_HTTP__ADMIN_FROM_LOOPBACK", "false"),
                ("NEARCAST_MEDIA__ROOM_LINGER", "2m"),
            ]),
            Vec::new(),
        )
        .unwrap();

        assert_eq!(config.http.listen.len(), 2);
        assert_eq!(config.http.allowed_origins, ["https://a.example", "https://b.example"], "as in a file");
        assert_eq!(config.http.requests_per_second.to_bits(), 2.5_f64.to_bits());
        assert!(!config.http.admin_from_loopback);
        assert_eq!(config.media.room_linger.to_string(), "2m");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_key() {
        let faults = faults_of("# ours\n[http]\n  lisen = [\"127.0.0.1:8080\"]\n");

        assert_eq!(faults.len(), 1);
        assert!(faults[0].place.ends_with(".toml:3:3"), "{}", faults[0].place);
        assert_eq!(
            faults[0].message,
            "`http.lisen` is no key of the configuration; did you mean `http.listen`?"
        );
    }

    #[test]
    fn a_key_outside_of_its_section_is_sent_there() {
        let faults = faults_of("listen = [\"127.0.0.1:8080\"]\n[htpp]\nlisten = []\n");

        assert!(faults[0].message.contains("did you mean `http.listen`?"), "{faults:?}");
        assert!(faults[1].message.contains("did you mean `http`?"), "{faults:?}");
    }

    #[test]
    fn a_bad_value_is_named_with_its_place_and_a_good_one() {
        let faults = faults_of("[media]\nroom_linger = 30\n");

        assert!(faults[0].place.ends_with(".toml:2:1"), "{}", faults[0].place);
        assert!(faults[0].message.starts_with("`media.room_linger` = 30: "), "{}", faults[0].message);
        assert!(faults[0].message.ends_with("; a good value is \"30s\""), "{}", faults[0].message);
    }

    #[test]
    fn a_value_without_sense_is_named_by_the_place_it_came_from() {
        let from_file = faults_of("[media]\n\nshards = 1000\n");
        let from_variable =
            load(None, variables(&[("NEARCAST_MEDIA__SHARDS", "1000")]), Vec::new()).unwrap_err();

        assert!(from_file[0].place.ends_with(".toml:3:1"), "{}", from_file[0].place);
        assert_eq!(from_variable[0].place, "NEARCAST_MEDIA__SHARDS");
    }

    #[test]
    fn broken_toml_is_named_by_line_and_column() {
        let faults = faults_of("[http]\nlisten = [\n");

        assert_eq!(faults.len(), 1);
        assert!(faults[0].place.contains(".toml:"), "{}", faults[0].place);
    }

    #[test]
    fn a_slip_in_a_variable_is_found_and_foreign_variables_are_left_alone() {
        let slips = variables(&[
            ("NEARCAST_HTTP__LISTN", "x"),
            ("NEARCAST_HTTP_LISTEN", "x"),
            ("NEARCAST_URL", "http://localhost"),
            ("PATH", "/bin"),
        ]);

        let faults = load(None, slips, Vec::new()).unwrap_err();

        assert_eq!(faults.len(), 2, "{faults:?}");
        for fault in faults {
            assert!(fault.message.ends_with("did you mean NEARCAST_HTTP__LISTEN?"), "{fault}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        assert_eq!(faults_of("[http]\na = 1\nb = 2\n[media]\nudp = 3\n").len(), 3);
    }

    #[test]
    fn a_missing_file_is_a_fault() {
        let faults =
            load(Some(Path::new("/nonexistent/nearcast.toml")), variables(&[]), Vec::new()).unwrap_err();

        assert!(faults[0].message.starts_with("cannot be read: "));
    }

    struct TempFile(PathBuf);

    impl TempFile {
        fn new(text: &str) -> Self {
            use std::sync::atomic::{AtomicU32, Ordering};
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("nearcast-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn faults_of(text: &str) -> Vec<Fault> {
        let file = TempFile::new(text);
        load(Some(&file.0), variables(&[]), Vec::new()).unwrap_err()
    }

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let owned: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        owned.into_iter()
    }

    fn flag(key: &str, value: Value) -> Setting {
        Setting { key: key.to_owned(), value, place: "--flag".to_owned() }
    }
}
