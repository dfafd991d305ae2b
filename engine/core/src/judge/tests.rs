mod budget;
mod error_rate;
mod false_alarms;
mod fixture;
mod gauge;
mod latency;
mod random_input;
mod soak;
