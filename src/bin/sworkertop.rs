//! `sworkertop`: the figures of a running server, read from the memory it publishes them in; the server is not asked.
//!
//! ```text
//!  sworkertop [-1] [-Y RUNDIR | -i INSTANCE] [-n SECONDS]
//! ```

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sworker::config::instance;
use sworker::shm::{GroupFigures, ProcessFigures, Snapshot, StatisticsError, StatisticsViewer};

const HELP: &str = "\
usage: sworkertop [options]

  -1            print once and exit, instead of refreshing until interrupted
  -Y DIRECTORY  run directory of the server; default: /run/sworker for root,
                for others $XDG_RUNTIME_DIR/sworker or sworker-UID in the
                directory for temporary files
  -i INSTANCE   name under which the server publishes its statistics, instead
                of -Y
  -n SECONDS    time between refreshes (default 1)
  -h            print this and exit
";

struct Order {
    instance: String,
    /// The run directory looked at, unless the instance was named.
    run_directory: Option<PathBuf>,
    is_once: bool,
    pause: Duration,
}

fn main() -> ExitCode {
    let order = match parse(std::env::args_os().skip(1)) {
        Ok(Some(order)) => order,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("sworkertop: {reason}; -h shows the options");
            return ExitCode::from(255);
        }
    };
    let shown = if order.is_once { show_once(&order) } else { show_on_and_on(&order) };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("sworkertop: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<Order>, String> {
    let (mut name, mut is_once, mut pause) = (None, false, Duration::from_secs(1));
    let mut run_directory = instance::default_run_directory();
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(None),
            lexopt::Arg::Short('1') => is_once = true,
            lexopt::Arg::Short('Y') => run_directory = PathBuf::from(value(&mut parser)?),
            lexopt::Arg::Short('i') => name = Some(value(&mut parser)?.to_string_lossy().into_owned()),
            lexopt::Arg::Short('n') => pause = seconds(&value(&mut parser)?)?,
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Some(match name {
        Some(instance) => Order { instance, run_directory: None, is_once, pause },
        None => {
            let instance = instance::name(&run_directory);
            Order { instance, run_directory: Some(run_directory), is_once, pause }
        }
    }))
}

fn value(parser: &mut lexopt::Parser) -> Result<OsString, String> {
    parser.value().map_err(|error| error.to_string())
}

fn seconds(text: &OsString) -> Result<Duration, String> {
    let seconds = text.to_string_lossy().parse::<f64>().ok().filter(|&seconds| seconds >= 0.05);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "-n needs a number of seconds, at least 0.05".to_owned())
}

fn show_once(order: &Order) -> Result<(), String> {
    print(&page(&attach(order)?))
}

/// The current figures, or why they cannot be read.
fn attach(order: &Order) -> Result<Snapshot, String> {
    StatisticsViewer::attach(&order.instance).map_err(|error| match (&error, &order.run_directory) {
        (StatisticsError::NotFound(_), Some(directory)) => {
            format!("{error}, run directory {}; use -Y for another one", directory.display())
        }
        _ => error.to_string(),
    })
}

/// Redraws in place. The viewer attaches again each time, so that it follows a server that was started again.
fn show_on_and_on(order: &Order) -> Result<(), String> {
    const HOME_AND_CLEAR: &str = "\x1b[H\x1b[2J";
    loop {
        let snapshot = attach(order)?;
        print(&format!("{HOME_AND_CLEAR}{}", page(&snapshot)))?;
        if !snapshot.is_alive {
            return Ok(());
        }
        std::thread::sleep(order.pause);
    }
}

fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}

fn page(snapshot: &Snapshot) -> String {
    let life = if snapshot.is_alive { "" } else { " (gone; these are its last statistics)" };
    let mut text = format!(
        "sworker, master {}{life}, statistics of {}\n\n",
        snapshot.server_pid,
        in_words(snapshot.published_at_ns)
    );
    group_table(&snapshot.groups, &mut text);
    text.push('\n');
    process_table(&snapshot.processes, &mut text);
    text
}

fn group_table(groups: &[GroupFigures], text: &mut String) {
    let width = groups.iter().map(|group| group.name.len()).max().unwrap_or(0).max("group".len());
    let _ = writeln!(
        text,
        "{:width$} {:>7} {:>9} {:>7} {:>12} {:>9} {:>12} {:>11} {:>11} {:>8} {:>11} {:>13}",
        "group",
        "workers",
        "capacity",
        "depth",
        "delegated",
        "full",
        "processed",
        "redelivered",
        "quarantined",
        "dropped",
        "wait p99 us",
        "script p99 us"
    );
    for group in groups {
        let _ = writeln!(
            text,
            "{:width$} {:>7} {:>9} {:>7} {:>12} {:>9} {:>12} {:>11} {:>11} {:>8} {:>11} {:>13}",
            group.name,
            group.workers,
            group.capacity,
            group.depth,
            group.delegated,
            group.full,
            group.processed,
            group.redelivered,
            group.quarantined,
            group.dropped_oldest + group.expired,
            group.wait.percentile_ns(99) / 1_000,
            group.script.percentile_ns(99) / 1_000
        );
    }
}

fn process_table(processes: &[ProcessFigures], text: &mut String) {
    let width = processes.iter().map(|process| process.title.len()).max().unwrap_or(0).max("process".len());
    let _ = writeln!(
        text,
        "{:>8} {:width$} {:>6} {:>6} {:>8} {:20} {:>12} {:>9}",
        "pid", "process", "group", "index", "restarts", "up since", "finished", "busy ms"
    );
    for process in processes {
        let pid = if process.pid == 0 { "-".to_owned() } else { process.pid.to_string() };
        let group = process.group.map_or("-".to_owned(), |group| group.to_string());
        let _ = writeln!(
            text,
            "{pid:>8} {:width$} {group:>6} {:>6} {:>8} {:20} {:>12} {:>9}",
            process.title,
            process.index,
            process.restarts,
            in_words(process.started_at_ns),
            process.finished,
            process.busy_ns / 1_000_000
        );
    }
}

fn in_words(nanoseconds: u64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) if nanoseconds > 0 => {
            time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_told_with_where_it_was_looked_for() {
        let attached = |words: &str| {
            let words = words.split_ascii_whitespace().map(OsString::from);
            attach(&parse(words).unwrap().unwrap()).err().unwrap_or_default()
        };
        let told = attached("-Y /no/such/place");
        assert!(told.ends_with("run directory /no/such/place; use -Y for another one"), "{told}");
        let told = attached("-i no-such-server -Y /no/such/place");
        assert!(told.contains("\"no-such-server\"") && !told.contains("/no/such"), "{told}");
    }

    #[test]
    fn a_page_shows_groups_and_processes() {
        let group = GroupFigures {
            name: "registrations".to_owned(),
            workers: 2,
            capacity: 16384,
            depth: 3,
            delegated: 1000,
            processed: 997,
            ..GroupFigures::default()
        };
        let worker = ProcessFigures {
            title: "worker registrations/1".to_owned(),
            pid: 42,
            group: Some(1),
            restarts: 5,
            finished: 500,
            busy_ns: 7_000_000,
            ..ProcessFigures::default()
        };
        let gone = ProcessFigures { title: "control".to_owned(), ..ProcessFigures::default() };
        let snapshot = Snapshot {
            server_pid: 41,
            is_alive: true,
            groups: vec![group],
            processes: vec![worker, gone],
            ..Snapshot::default()
        };

        let text = page(&snapshot);

        let words = |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert!(text.starts_with("sworker, master 41, statistics of -\n"));
        assert_eq!(words(2)[..4], ["group", "workers", "capacity", "depth"]);
        assert_eq!(
            words(3),
            ["registrations", "2", "16384", "3", "1000", "0", "997", "0", "0", "0", "0", "0"]
        );
        assert_eq!(words(6), ["42", "worker", "registrations/1", "1", "0", "5", "-", "500", "7"]);
        assert_eq!(words(7)[..3], ["-", "control", "-"]);
    }

    #[test]
    fn a_server_that_is_gone_is_told() {
        let text = page(&Snapshot { is_alive: false, ..Snapshot::default() });
        assert!(text.contains("gone; these are its last statistics"));
    }
}
