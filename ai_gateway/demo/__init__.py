"""Weeks of calls that nobody made, of people who do not exist: to look at, to try things out with, to measure with.

`cast` is who there is and what they use, `hours` tells when they do, `calls` makes up what they did, `stage` puts
all of it into the database and takes it away again, exactly.

Nothing of it can be taken for real: names begin with `demo-`, addresses of people end in `@demo.invalid`, keys carry
`gateway_demo` in their metadata, and providers are the built-in echo, so whoever plays with them calls nobody.
"""
