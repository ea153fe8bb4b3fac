CREATE TABLE attachment (
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    pci TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    PRIMARY KEY (container_id, ifname)
) WITHOUT ROWID;
CREATE TABLE intent (
    token TEXT NOT NULL,
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (token, ifname)
) WITHOUT ROWID;
CREATE TABLE set_aside (
    pci TEXT NOT NULL PRIMARY KEY,
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    record BLOB NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = 0;
PRAGMA user_version = 2;
