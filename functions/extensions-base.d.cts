import base = require('@azure/functions-extensions-base');
export = base;
