// CPU seconds of one query by DuckDB on one thread: node duckdb.mjs SQL
import {createRequire} from 'node:module';

const {DuckDBInstance} = await import(createRequire(`${process.cwd()}/`).resolve('@duckdb/node-api'));
const instance = await DuckDBInstance.create(':memory:', {threads: '1'});
const duckdb = await instance.connect();
const before = process.cpuUsage();
const rows = (await duckdb.runAndReadAll(process.argv[2])).getRowsJson().length;
const used = process.cpuUsage(before);
console.log((used.user + used.system) * 1e-6, rows);
process.exit(0);
