//! `sworkerd -x memory`: what shared memory a server takes, part by part, before anything is started.

use crate::shm::{Lifetime, StatisticsPublisher};
use crate::state::parts::{PartError, PartPlan, PartSize};
use crate::telemetry::log::LEVEL_NAME;

/// One line for each mapping, the largest first, and their sum.
pub fn table(plan: &PartPlan) -> Result<String, PartError> {
    let mut rows = rows(plan)?;
    rows.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    let total: u64 = rows.iter().map(|row| row.size).sum();
    let of_generation = rows.iter().filter(|row| row.lifetime == Lifetime::Generation);
    let of_generation: u64 = of_generation.map(|row| row.size).sum();
    let mut text = line("part", "lifetime", "bytes", "size");
    for row in &rows {
        let size = human(row.size);
        text.push_str(&line(&row.name, &row.lifetime.to_string(), &row.size.to_string(), &size));
    }
    text.push_str(&line("total", "", &total.to_string(), &human(total)));
    text.push_str(&format!(
        "All of it is resident from the start, nothing is made on demand. While a reload is under way each former\n\
         generation keeps its own parts of lifetime \"generation\": {} more.\n",
        human(of_generation)
    ));
    Ok(text)
}

/// All that the master maps: the list, and the two that stand beside it.
fn rows(plan: &PartPlan) -> Result<Vec<PartSize>, PartError> {
    let mut rows = plan.sizes()?;
    rows.retain(|row| row.size > 0);
    rows.push(PartSize {
        name: LEVEL_NAME.to_string_lossy().into(),
        lifetime: Lifetime::Generation,
        size: PAGE,
    });
    let groups = plan.queues.groups.len() as u32;
    let published = StatisticsPublisher::size_of(groups, plan.processes).next_multiple_of(PAGE);
    let name = "published statistics".to_owned();
    rows.push(PartSize { name, lifetime: Lifetime::Generation, size: published });
    Ok(rows)
}

const PAGE: u64 = 4096;

fn line(name: &str, lifetime: &str, bytes: &str, size: &str) -> String {
    format!("{name:<24}{lifetime:<12}{bytes:>14}{size:>12}\n")
}

/// `65.4 MiB`.
fn human(bytes: u64) -> String {
    let mut size = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::heritage::part_plan;
    use crate::process::start::boot::tests::Scene;

    const SCRIPT: &str = "listen=udp:127.0.0.1:0\nchildren=1\nloadmodule \"async.so\"\n\
        async_workers_group=\"name=calls;workers=2;queue=16\"\nrequest_route { exit; }\n";

    #[test]
    fn sizes_are_told_to_the_byte_and_for_people() {
        let rows = [
            (4_096, "4.0 KiB"),
            (1_000_000, "976.6 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (1 << 42, "4096.0 GiB"),
        ];
        for (bytes, text) in rows {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn the_table_names_every_part_and_sums_them() {
        let scene = Scene::new(SCRIPT);
        let heritage = &scene.heritage;
        let plan = part_plan(&heritage.loaded, &heritage.places, 0);
        let text = table(&plan).unwrap();
        let bytes = |line: &str| line.split_whitespace().rev().nth(2)?.parse::<u64>().ok();
        let table: Vec<&str> = text.lines().filter(|line| bytes(line).is_some()).collect();
        let (total, parts) = table.split_last().unwrap();
        assert!(total.starts_with("total "), "{text}");
        assert_eq!(parts.iter().filter_map(|line| bytes(line)).sum::<u64>(), bytes(total).unwrap(), "{text}");
        assert!(
            parts.iter().any(|line| line.starts_with("sworker-values ") && line.contains(" server ")),
            "{text}"
        );
        assert!(parts.iter().any(|line| line.starts_with("sworker-delay ")), "{text}");
        assert!(!text.contains("sworker-overload"), "{text}");
        assert!(text.lines().all(|line| line.len() < 120), "{text}");
    }
}
