use std::collections::BTreeMap;

use super::{Health, Instance};

/// Makes one instance of all with the same id, sorted by id. For a registry that spreads what it says
/// of an instance, or says it twice while it changes.
///
/// The first counts. It gets the ports of the others that it lacks, and the best health: what says
/// worse is older, or a part of the truth.
#[must_use]
pub fn unite(instances: impl IntoIterator<Item = Instance>) -> Vec<Instance> {
    let mut united: BTreeMap<String, Instance> = BTreeMap::new();
    for found in instances {
        match united.get_mut(&found.id) {
            Some(known) => merge(known, found),
            None => {
                united.insert(found.id.clone(), found);
            }
        }
    }
    united.into_values().collect()
}

/// The worst health of several checks of an instance; passing, if there are none.
#[must_use]
pub fn worst(checks: impl IntoIterator<Item = Health>) -> Health {
    let rank = |health: &Health| match health {
        Health::Passing => 0,
        Health::Unknown => 1,
        Health::Warning => 2,
        Health::Critical => 3,
    };
    let checks = checks.into_iter();
    checks.max_by_key(rank).unwrap_or(Health::Passing)
}

fn merge(known: &mut Instance, found: Instance) {
    // Whoever knows nothing says less than any other.
    let rank = |health: Health| match health {
        Health::Passing => 0,
        Health::Warning => 1,
        Health::Critical => 2,
        Health::Unknown => 3,
    };
    if rank(found.health) < rank(known.health) {
        known.health = found.health;
    }
    for port in found.ports {
        if known.ports.iter().all(|own| own.name != port.name) {
            known.ports.push(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{Port, instance};

    fn part(id: &str, address: &str, health: Health, port: &str) -> Instance {
        Instance {
            id: id.to_owned(),
            health,
            ports: vec![Port {
                name: port.to_owned(),
                number: 1,
            }],
            ..instance(address)
        }
    }

    #[test]
    fn parts_of_an_instance_are_one_with_all_ports_and_the_best_health() {
        let united = unite([
            part("b", "10.0.0.2", Health::Warning, "control"),
            part("a", "10.0.0.1", Health::Critical, "control"),
            part("b", "fd00::2", Health::Passing, "data"),
            part("b", "10.0.0.3", Health::Unknown, "data"),
        ]);
        let ids: Vec<_> = united.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(united[0].health, Health::Critical);
        assert_eq!(
            (&*united[1].address, united[1].health),
            ("10.0.0.2", Health::Passing)
        );
        let ports: Vec<_> = united[1].ports.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(ports, ["control", "data"]);
    }

    #[test]
    fn the_worst_check_counts() {
        use Health::{Critical, Passing, Unknown, Warning};
        assert_eq!(worst([]), Passing);
        assert_eq!(worst([Passing, Unknown]), Unknown);
        assert_eq!(worst([Warning, Passing, Critical]), Critical);
    }
}
