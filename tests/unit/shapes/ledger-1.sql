CREATE TABLE attachment (
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    pci TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    PRIMARY KEY (container_id, ifname)
) WITHOUT ROWID;
PRAGMA application_id = 0;
PRAGMA user_version = 1;
