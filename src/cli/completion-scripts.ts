/** The shells that there is a script for. */
export const completionShells = ["bash", "zsh", "fish"] as const;

/** A shell that can complete the words of `troth`. */
export type CompletionShell = (typeof completionShells)[number];

/** Asks `troth __complete` for each word; a line of its answer is a candidate, a tab, and what it is. */
export const completionScripts: { readonly [Shell in CompletionShell]: string } = {
  bash: `_troth() {
  local line word
  COMPREPLY=()
  while IFS= read -r line; do
    word=\${line%%$'\\t'*}
    COMPREPLY+=("$(printf '%q' "$word")")
  done < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _troth troth
`,
  zsh: `#compdef troth
_troth() {
  local -a candidates
  local line
  while IFS= read -r line; do
    candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#candidates} )); then
    _describe 'troth' candidates
  else
    _files
  fi
}
compdef _troth troth
`,
  fish: `function __troth_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c troth -a '(__troth_complete)'
`,
};
