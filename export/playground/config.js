// Which backend the page uses. `charlm export --web` writes another one, which names a model file.
export default { backend: "server" };
