/** The JSON schema of ids and groups. They become names of files. */
export const NAME_SCHEMA = { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" } as const;
