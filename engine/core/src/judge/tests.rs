mod chance;
mod fixture;
mod hostile;
mod table;
