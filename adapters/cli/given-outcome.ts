import { taggedJson } from "../../src/codec.ts";
import { responseCodec, responseOf } from "../../src/idempotency/http-response.ts";
import { type EncodedOutcome, outcomeCodec } from "../../src/idempotency/outcome.ts";
import type { ExecutionView, StoredOutcome } from "../../src/store.ts";
import type { CommandContext } from "./command.ts";
import { type OptionValues, text } from "./option-spec.ts";
import { type ReadOutcome, readOutcome } from "./stored-outcome.ts";
import { UsageError } from "./usage-error.ts";

/** The options that say an outcome. */
export const OUTCOME = {
  value: text("JSON", "what the function would have returned"),
  error: text("MESSAGE", "the message of the error that callers shall get"),
  "error-code": text("CODE", "with --error: the error's code"),
  status: text("STATUS", "of a request over HTTP: the status of the response"),
  body: text("TEXT", "with --status: the response's body. Defaults to none"),
  "content-type": text("TYPE", "with --body: its media type. Defaults to application/json for JSON, else text/plain"),
} as const;

type Options = OptionValues<typeof OUTCOME>;
type Form = "value" | "error" | "response";

/** An outcome that is ready to be stored, and half a sentence about it. */
export interface GivenOutcome {
  readonly outcome: StoredOutcome;
  readonly says: string;
}

/** As large as operations keep, unless they were told otherwise. */
const LARGEST_BYTES = 1_048_576;

/** How many outcomes of the operation are looked at, to see by which codec it writes. */
const MOST_COMPARED = 5;

/** By default the HTTP layers name an operation by method and path. */
const ROUTE = /^[A-Z]+ \//;

/** An operation with a name of its own may be that of a route: its callers would be answered that the record is damaged. */
const UNTOLD = " (no outcome in the ledger tells what its callers take; behind HTTP they take a --status)";

const values = outcomeCodec(taggedJson, LARGEST_BYTES);
const responses = outcomeCodec(responseCodec(taggedJson), LARGEST_BYTES);

/**
 * Makes the outcome that the options say, in the form in which callers of the record's operation read theirs.
 * @throws UsageError for no outcome, more than one, or one that the callers of this operation could not read.
 */
export async function makeOutcome(
  view: ExecutionView,
  { options, store, ask }: Pick<CommandContext<Options>, "options" | "store" | "ask">,
): Promise<GivenOutcome> {
  const form = formOf(options);
  const { executions } = await store();
  const request = { operation: view.operation, status: "completed", limit: MOST_COMPARED } as const;
  const others = await ask((call) => executions.list(request, call));
  const known = others.flatMap(formsOf);
  assertFits(form, view.operation, known);
  const { outcome, says } = make(form, view.id, options);
  const isTold = form === "response" || known.some((told) => told === "value" || told === "foreign");
  return { outcome, says: isTold ? says : `${says}${UNTOLD}` };
}

function formOf(options: Options): Form {
  const { value, error, status } = options;
  const forms = { value, error, response: status };
  const given = (Object.keys(forms) as Form[]).filter((form) => forms[form] !== undefined);
  if (given.length !== 1) throw new UsageError("say one of --value, --error and --status");
  const [form = "value"] = given;
  if (options["error-code"] !== undefined && form !== "error") throw new UsageError("--error-code goes with --error");
  if (options.body !== undefined && form !== "response") throw new UsageError("--body goes with --status");
  if (options["content-type"] !== undefined && options.body === undefined) {
    throw new UsageError("--content-type goes with --body");
  }
  return form;
}

function formsOf(other: ExecutionView): ReadOutcome["form"][] {
  if (other.status !== "completed") return [];
  try {
    return [readOutcome(other.id, other.outcome).form];
  } catch {
    // Of a record that is broken nothing can be learnt.
    return [];
  }
}

/** Callers whose operation writes responses can't read a value, and the other way round. */
function assertFits(form: Form, operation: string, known: readonly ReadOutcome["form"][]): void {
  if (known.includes("foreign") && form !== "error") {
    throw new UsageError("the outcomes of this operation are of a codec of its own, which the command does not know");
  }
  const ofHttp = known.includes("response") || (!known.includes("value") && ROUTE.test(operation));
  if (ofHttp && form !== "response") {
    throw new UsageError("the outcomes of this operation are HTTP responses: say --status, and --body if it has one");
  }
  if (known.includes("value") && form === "response") {
    throw new UsageError("the outcomes of this operation are no HTTP responses: say --value or --error");
  }
}

function make(form: Form, id: string, options: Options): GivenOutcome {
  switch (form) {
    case "value": {
      const value = jsonOf(options.value ?? "");
      return { outcome: kept(values.encodeValue(id, value)), says: "a value" };
    }
    case "error": {
      const code = options["error-code"];
      const error = Object.assign(new Error(options.error), code === undefined ? {} : { code });
      return { outcome: kept(values.encodeError(id, error)), says: "an error" };
    }
    case "response": {
      const response = responseOfOptions(options);
      return { outcome: kept(responses.encodeValue(id, response)), says: `a response of status ${response.status}` };
    }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError("--value must be JSON: a text has its quotes, as in --value '\"paid\"'");
  }
}

function responseOfOptions({ status = "", body, "content-type": contentType }: Options) {
  const type = contentType ?? (body === undefined ? undefined : mediaTypeOf(body));
  try {
    return responseOf({
      status: /^\d+$/.test(status) ? Number(status) : Number.NaN,
      ...(type === undefined ? {} : { headers: { "content-type": type } }),
      ...(body === undefined ? {} : { body }),
    });
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\.$/, ""));
  }
}

function mediaTypeOf(body: string): string {
  try {
    JSON.parse(body);
    return "application/json; charset=utf-8";
  } catch {
    return "text/plain; charset=utf-8";
  }
}

function kept(encoded: EncodedOutcome): StoredOutcome {
  if ("replay" in encoded) return encoded.outcome;
  throw new UsageError(
    encoded.tombstone === "too_large"
      ? `it is larger than ${LARGEST_BYTES} bytes`
      : "it has no form that can be stored",
  );
}
