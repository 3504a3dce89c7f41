//! The program, command by command, as one binary of tests: twenty would each link all of it.

mod configs;
mod convert;
mod doctor;
mod drawn_pairs;
mod evaluate;
mod export;
mod fid;
#[path = "../support/hub.rs"]
mod hub;
mod hub_sets;
mod import;
mod kill;
mod layouts;
#[path = "../support/model.rs"]
mod model;
mod own_data;
#[path = "../support/postgres.rs"]
mod postgres;
mod prepare;
mod register;
mod replay;
mod runs;
mod simulate_campaign;
mod study;
mod together;
mod votes;
mod worker;
