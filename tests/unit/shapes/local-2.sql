CREATE TABLE vif (
    id TEXT PRIMARY KEY,
    pod_uid TEXT NOT NULL,
    pod TEXT NOT NULL,
    ifname TEXT NOT NULL,
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    node TEXT,
    pci_slot TEXT,
    created REAL NOT NULL,
    request TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (pod_uid, ifname),
    UNIQUE (network, mac),
    UNIQUE (node, pci_slot)
);
CREATE TABLE address (
    network TEXT NOT NULL,
    ip BLOB NOT NULL,
    vif TEXT NOT NULL REFERENCES vif (id) ON DELETE CASCADE,
    PRIMARY KEY (network, ip)
) WITHOUT ROWID
;
CREATE INDEX address_vif ON address (vif);
CREATE TABLE run (
    network TEXT NOT NULL,
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    PRIMARY KEY (network, first)
) WITHOUT ROWID
;
CREATE INDEX vif_mac ON vif (mac);
PRAGMA application_id = 1802728054;
PRAGMA user_version = 2;
