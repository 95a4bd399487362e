/** The index as an SQLite database: its schema, and how it is opened. */
import Database from 'libsql';
import { SaladError } from '../../../../src/errors/index.js';

export type IndexDatabase = InstanceType<typeof Database>;

const VERSION = 3;
/** Wait for another process, such as `salad-modality retry` beside the gateway. */
const BUSY_MS = 10_000;

const SCHEMA = `
  CREATE TABLE instances (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sopInstanceUid TEXT NOT NULL UNIQUE,
    sopClassUid TEXT NOT NULL,
    syntaxUid TEXT NOT NULL,
    contentHash TEXT NOT NULL,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('stat', 'routine')),
    state TEXT NOT NULL CHECK (state IN ('received', 'streaming', 'scored', 'delivered', 'dead-letter')),
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    nextAttemptMs INTEGER NOT NULL DEFAULT 0,
    receivedMs INTEGER NOT NULL,
    changedMs INTEGER NOT NULL,
    result TEXT
  ) STRICT;
  CREATE INDEX instancesByState ON instances (state, priority, id);
  CREATE TABLE deliveries (
    instance INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead-letter')),
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    nextAttemptMs INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (instance, destination)
  ) STRICT;
  CREATE INDEX deliveriesByDestination ON deliveries (destination, state, instance);
  CREATE TABLE conflicts (
    sopInstanceUid TEXT NOT NULL,
    contentHash TEXT NOT NULL,
    file TEXT NOT NULL,
    receivedMs INTEGER NOT NULL,
    PRIMARY KEY (sopInstanceUid, contentHash)
  ) STRICT;
`;

/** What version 2 added: the objects of a delivery, and the maps that they are drawn from until all are delivered. */
const SCHEMA_2 = `
  CREATE TABLE objects (
    instance INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'none', 'dead-letter')),
    reason TEXT,
    PRIMARY KEY (instance, destination, kind)
  ) STRICT;
  INSERT INTO objects (instance, destination, kind, state, reason)
    SELECT instance, destination, 'report', state, reason FROM deliveries;
  CREATE TABLE maps (
    instance INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    frame INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    scale TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (instance, frame)
  ) STRICT;
`;

/** What version 3 added: objects that an archive took and has not committed, and the transactions about them. */
const SCHEMA_3 = `
  ALTER TABLE objects RENAME TO objects2;
  CREATE TABLE objects (
    instance INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'delivered', 'none', 'dead-letter')),
    reason TEXT,
    sopClassUid TEXT,
    sopInstanceUid TEXT,
    PRIMARY KEY (instance, destination, kind)
  ) STRICT;
  INSERT INTO objects (instance, destination, kind, state, reason)
    SELECT instance, destination, kind, state, reason FROM objects2;
  DROP TABLE objects2;
  CREATE INDEX objectsSent ON objects (destination, instance) WHERE state = 'sent';
  CREATE TABLE commitments (
    transactionUid TEXT PRIMARY KEY,
    instance INTEGER NOT NULL,
    destination TEXT NOT NULL,
    FOREIGN KEY (instance, destination) REFERENCES deliveries (instance, destination) ON DELETE CASCADE
  ) STRICT;
  CREATE INDEX commitmentsByDelivery ON commitments (instance, destination);
  PRAGMA user_version = ${VERSION};
`;

/**
 * Opens the index, and creates it where there is none. A commit is on the disk when it returns (write-ahead log with
 * `synchronous = FULL`); several processes may have it open.
 * @throws SaladError CONFIGURATION_INVALID where another version of the program wrote it; errors of SQLite
 */
export function openDatabase(path: string): IndexDatabase {
  const database = new Database(path, { timeout: BUSY_MS });
  try {
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma('foreign_keys = ON');
    database.transaction(() => createSchema(database, path)).immediate();
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

/** Reads sizes without the rows, which hold results. Also of an index that an earlier build created. */
const SIZES = 'CREATE INDEX IF NOT EXISTS instancesWithFile ON instances (bytes) WHERE bytes > 0';

function createSchema(database: IndexDatabase, path: string): void {
  const [found] = database.pragma('user_version') as [{ user_version: number }];
  if (found.user_version === 0) database.exec(SCHEMA + SCHEMA_2 + SCHEMA_3);
  else if (found.user_version === 1) database.exec(SCHEMA_2 + SCHEMA_3);
  else if (found.user_version === 2) database.exec(SCHEMA_3);
  else if (found.user_version !== VERSION) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `${path}: the index has version ${found.user_version}, this program knows ${VERSION}: use the program that wrote it`,
    );
  }
  database.exec(SIZES);
}

/** Whether SQLite failed because the disk is full. */
export function isDiskFull(error: unknown): boolean {
  const { code, message } = error as { readonly code?: string; readonly message?: string };
  return (
    code === 'ENOSPC' ||
    code === 'EDQUOT' ||
    /^SQLITE_FULL/.test(code ?? '') ||
    /disk is full/.test(message ?? '')
  );
}
