"""The ledger of samples inside verl 0.9.1: a policy loss that logs what each side of the clip does, and a plug-in for it."""
