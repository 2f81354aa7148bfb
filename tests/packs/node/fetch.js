// Fetches a page and prints its text; where that fails, why. Tells how long it took as well.
const url = process.argv[2];
const started = performance.now();

function say(found) {
  console.log(JSON.stringify({ ...found, milliseconds: performance.now() - started }));
}

fetch(url)
  .then(async (response) => say({ status: response.status, text: await response.text() }))
  .catch((error) => {
    const cause = error.cause ?? {};
    say({ error: error.message, code: cause.code ?? null, cause: String(cause) });
    process.exitCode = 1;
  });
