//! Programs that others wrote, installed from their registries and run as they are: once granted, once refused with the
//! reason, and with nothing of the host visible otherwise.

#[cfg(test)]
mod aiohttp;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod controls;
#[cfg(test)]
mod data;
#[cfg(test)]
mod httpx;
#[cfg(test)]
mod intercepted;
#[cfg(test)]
mod node;
#[cfg(test)]
mod pandas;
#[cfg(test)]
mod psycopg;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod sites;
#[cfg(test)]
mod surroundings;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod world;
