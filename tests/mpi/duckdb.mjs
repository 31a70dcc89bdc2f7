// Random questions to scan and to DuckDB about the same tables: node duckdb.mjs SCAN FLIGHTS FOLDER QUESTIONS SEED CAIRN
// Every other one of the small tables is made shards as well, of which scan must answer the very same.
// Tables: the flights, and in FOLDER small ones with nulls, quotes, empty texts, line breaks, huge and tiny numbers. Texts, counts,
// smallest and largest must be equal (arithmetic is asked of binary fractions only, in which doubles are exact too); sums, means, variances to 12 digits of what was added up, since DuckDB adds in doubles.
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const {DuckDBInstance} = await import(createRequire(`${process.cwd()}/`).resolve('@duckdb/node-api'));
const [scan, flights, folder, questions, seed, cairn] = process.argv.slice(2);

let state = BigInt(seed) * 2654435761n + 88172645463325252n;
function random(below) {
    for (const [left, by] of [[true, 13n], [false, 7n], [true, 17n]]) {
        state ^= left ? (state << by) & 0xffffffffffffffffn : state >> by;
    }
    return Number(state % BigInt(below));
}
const pick = list => list[random(list.length)];

// --- tables

const texts = ['', 'a', 'ab', 'A', 'with, comma', 'with "quotes"', 'two\nlines', 'ünïcode', 'Z', 'x10', 'x9'];
const numbers = ['', '0', '1', '-1', '2', '2.5', '-0.125', '1000', '1e3', '123456789.125', '-7', '0.75', '0.0625', '99999999'];
const extreme = ['', '1e300', '-1e300', '1e-300', '3e-20', '123456789012345678', '0.000000000001', '-5e150', '7'];
const quoted = text => (/[",\n]/.test(text) || random(5) === 0 ? `"${text.replaceAll('"', '""')}"` : text);

function table(index) {
    const rows = 1 + random(pick([3, 40, 400]));
    const end = pick(['\n', '\r\n']);
    const lines = ['k,t,n,m,x'];
    for (let i = 0; i < rows; i++) {
        lines.push([quoted(pick(texts)), quoted(pick(texts)), pick(numbers), pick(numbers), pick(extreme)].join(','));
    }
    const path = `${folder}/table-${index}.csv`;
    writeFileSync(path, lines.join(end) + (random(2) === 0 ? end : ''));
    return {path, text: ['k', 't'], number: ['n', 'm'], extreme: ['x'],
            columns: {k: 'VARCHAR', t: 'VARCHAR', n: 'DOUBLE', m: 'DOUBLE', x: 'DOUBLE'}};
}

const known = {path: flights, text: ['origin', 'destination'], number: ['delay', 'distance'], extreme: [],
               columns: {date: 'VARCHAR', delay: 'DOUBLE', distance: 'DOUBLE', origin: 'VARCHAR', destination: 'VARCHAR'}};

// --- questions

const literal = text => `'${text.replaceAll("'", "''")}'`;

function value(t, depth) {
    const kind = depth > 2 ? random(3) : random(6);
    if (kind < 2) return pick(t.number);
    if (kind === 2) return String(pick([0, 1, 2, 10, 0.5, 100]));
    if (kind === 3) return `-(${value(t, depth + 1)})`;
    return `(${value(t, depth + 1)} ${pick(['+', '-', '*'])} ${value(t, depth + 1)})`;
}

function test(t) {
    const sign = pick(['=', '<>', '<', '<=', '>', '>=']);
    switch (random(8)) {
    case 0: return `${pick(t.text)} ${sign} ${literal(pick(texts.concat('ATL', 'JFK')))}`;
    case 1: return `${pick(t.text)} ${pick(['', 'not '])}in (${literal(pick(texts))}, 'ATL', ${literal(pick(texts))})`;
    case 2: return `starts_with(${pick(t.text)}, ${literal(pick(['a', 'A', '', 'wi']))})`;
    case 3: return `${pick(t.text.concat(t.number))} is ${pick(['', 'not '])}null`;
    case 4: return `${pick(t.number)} ${pick(['', 'not '])}in (1, -1, 2.5, 1000)`;
    case 5: return `${t.text[0]} ${sign} ${t.text[1]}`;
    default: return `${value(t, 0)} ${sign} ${value(t, 0)}`;
    }
}

function condition(t, depth) {
    const kind = depth > 2 ? 0 : random(4);
    if (kind < 2) return test(t);
    if (kind === 2) return `not (${condition(t, depth + 1)})`;
    return `(${condition(t, depth + 1)}) ${pick(['and', 'or'])} (${condition(t, depth + 1)})`;
}

function question(t) {
    const column = () => pick(t.number.concat(t.extreme));
    const makers = [
        () => ['count', 'count(*)', 'exact'],
        () => { const c = pick(t.text.concat(t.number)); return [`count(${c})`, `count(${c})`, 'exact']; },
        () => { const c = column(); return [`min(${c})`, `min(${c})`, 'exact']; },
        () => { const c = column(); return [`max(${c})`, `max(${c})`, 'exact']; },
        () => { const c = pick(t.number); return [`sum(${c})`, `sum(${c})`, `sum(abs(${c}))`]; },
        () => { const c = pick(t.number); return [`mean(${c})`, `avg(${c})`, `avg(abs(${c}))`]; },
        () => { const c = pick(t.number); return [`variance(${c})`, `var_samp(${c})`, `avg(${c} * ${c})`]; },
        () => { const c = pick(t.number); return [`stddev(${c})`, `stddev_samp(${c})`, `sqrt(avg(${c} * ${c}))`]; },
    ];
    const aggregates = Array.from({length: 3}, () => pick(makers)());
    const groups = pick([[], [t.text[0]], [t.text[1]], t.text]);
    const where = random(5) === 0 ? null : condition(t, 0);
    // Order by what is exact, so that another rounding moves no row.
    const exact = aggregates.filter(a => a[2] === 'exact');
    const order = exact.length > 0 && random(2) === 0 ? [exact[0], random(2) === 0] : null;
    const limit = groups.length > 0 && random(3) === 0 ? 1 + random(6) : 0;
    const options = ['--format', 'csv', '--agg', aggregates.map(a => a[0]).join(',')];
    if (groups.length > 0) options.push('--group-by', groups.join(','));
    if (where !== null) options.push('--where', where);
    if (order !== null) options.push('--order-by', order[0][0] + (order[1] ? ' desc' : ''));
    if (limit > 0) options.push('--limit', String(limit));
    const columns = Object.entries(t.columns).map(([n, type]) => `'${n}': '${type}'`).join(', ');
    const from = `read_csv('${t === known ? `${t.path}/*.csv` : t.path}', header=true, delim=',', quote='"', escape='"', ` +
        `nullstr='', columns={${columns}})`;
    const selected = groups.concat(aggregates.map(a => a[1]), aggregates.filter(a => a[2] !== 'exact').map(a => a[2]));
    let sql = `select ${selected.join(', ')} from ${from}`;
    if (where !== null) sql += ` where ${where}`;
    if (groups.length > 0) sql += ` group by ${groups.join(', ')}`;
    const by = groups.map(g => `${g} nulls first`);
    if (order !== null) by.unshift(`${order[0][1]} ${order[1] ? 'desc' : 'asc'} nulls last`);
    if (by.length > 0) sql += ` order by ${by.join(', ')}`;
    if (limit > 0) sql += ` limit ${limit}`;
    return {options, path: t.path, sql, groups: groups.length, aggregates};
}

// --- answers

function readCsv(text) {
    const rows = [];
    let row = [], field = '', inside = false;
    for (let i = 0; i < text.length; i++) {
        const c = text[i];
        if (inside) {
            if (c !== '"') field += c;
            else if (text[i + 1] === '"') { field += '"'; i++; }
            else inside = false;
        } else if (c === '"') inside = true;
        else if (c === ',') { row.push(field); field = ''; }
        else if (c === '\n') { row.push(field); rows.push(row); row = []; field = ''; }
        else field += c;
    }
    return rows.slice(1);
}

function differs(q, mine, theirs) {
    if (mine.length !== theirs.length) return `${mine.length} rows instead of ${theirs.length}`;
    for (let i = 0; i < mine.length; i++) {
        let extra = q.groups + q.aggregates.length;
        for (let k = 0; k < q.groups + q.aggregates.length; k++) {
            const a = mine[i][k], b = theirs[i][k];
            const kind = k < q.groups ? 'text' : q.aggregates[k - q.groups][2];
            const scale = kind === 'text' || kind === 'exact' ? 0 : theirs[i][extra++];
            const same = b === null ? a === ''
                : kind === 'text' ? a === b
                : a !== '' && Math.abs(Number(a) - Number(b)) <= 1e-12 * Math.max(Math.abs(Number(scale)), 1e-300) * 1000;
            if (!same) return `row ${i + 1}, column ${k + 1}: ${a} instead of ${b}`;
        }
    }
    return null;
}

// The same question about the same table as shards, of a few rows each; null: the same answer.
function asShards(q, expected, i) {
    const shards = `${folder}/shards-${i}`;
    const made = spawnSync(cairn, ['data', 'import', '--rows', String(1 + random(200)), shards, q.path], {encoding: 'utf8', timeout: 60000});
    if (made.status !== 0) return `import: exit status ${made.status}: ${made.stderr}`;
    const run = spawnSync(scan, [...q.options, shards], {encoding: 'utf8', timeout: 60000});
    return run.status !== 0 ? `shards: exit status ${run.status}: ${run.stderr}`
        : run.stdout !== expected ? `shards answer ${run.stdout}instead of ${expected}` : null;
}

const instance = await DuckDBInstance.create(':memory:');
const duckdb = await instance.connect();
let bad = 0, rows = 0;
for (let i = 0; i < Number(questions); i++) {
    const q = question(i % 4 === 0 ? known : table(i));
    const theirs = (await duckdb.runAndReadAll(q.sql)).getRowsJson();
    const run = spawnSync(scan, [...q.options, q.path], {encoding: 'utf8', timeout: 60000});
    let why = run.status !== 0 ? `exit status ${run.status}: ${run.stderr}` : differs(q, readCsv(run.stdout), theirs);
    if (why === null && i % 4 !== 0 && i % 2 === 0) why = asShards(q, run.stdout, i);
    rows += theirs.length;
    if (why !== null) {
        bad++;
        console.log(`FAILED: ${why}\n  scan ${q.options.map(o => JSON.stringify(o)).join(' ')} ${q.path}\n  ${q.sql}`);
    }
}
console.log(`  ${questions} questions, ${rows} rows of answers, ${bad} other answers`);
process.exit(bad === 0 && rows > 0 ? 0 : 1);
