// The blob binding's factory registry is a singleton of the CommonJS build, which is the one that @azure/functions loads;
// the package's ES module build has another. Hence a CommonJS file between.
module.exports = require('@azure/functions-extensions-base');
