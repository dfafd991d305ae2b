mod error_rate;
mod false_alarms;
mod fixture;
mod quantile;
mod random_input;
mod soak;
