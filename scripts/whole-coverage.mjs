// Lets the processes of mocha write all of their coverage data: mocha sends SIGTERM a second after the last test, and
// writing takes longer. mocha loads this file with --require, and ends after its processes.
if (process.env.NODE_V8_COVERAGE !== undefined) process.on('SIGTERM', () => {});
