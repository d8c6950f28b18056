const { app } = require('@azure/functions');

app.get('early', () => ({ body: 'registered before the throw' }));
throw new Error('thrown while loading');
